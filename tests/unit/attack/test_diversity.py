"""Everything that is annotated on an image follows its pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ikd.attack.diversity import Placement, draw_placement, place_images, place_sample
from tests.unit.attack.toys import sample, tiny


def test_placements_keep_the_aspect_and_stay_in_the_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_placement((120, 200), generator, probability=0.5, min_scale=0.9) for _ in range(400)]
    placed = [place for place in drawn if place is not None]
    assert 150 < len(placed) < 250
    for place in placed:
        assert abs(place.height / place.width - 120 / 200) < 0.01
        assert 0.89 < place.scale[0] < 1.01
        assert 0 <= place.top <= 120 - place.height
        assert 0 <= place.left <= 200 - place.width
    assert len({place.left for place in placed}) > 5


def test_the_coin_does_not_shift_later_draws() -> None:
    streams = [torch.Generator().manual_seed(1) for _ in range(2)]
    for stream, probability in zip(streams, (0.0, 1.0), strict=True):
        draw_placement((64, 64), stream, probability=probability, min_scale=0.5)
    assert torch.equal(streams[0].get_state(), streams[1].get_state())


def test_boxes_and_masks_follow_the_pixels() -> None:
    tiny("retinanet_r18")
    from mmdet.structures.mask import BitmapMasks, PolygonMasks

    height, width = 60, 80
    image = torch.zeros(1, 3, 64, 96)
    image[:, :, 20:40, 30:60] = 1
    place = Placement(height=30, width=40, top=9, left=25, frame=(height, width))
    bright = place_images(image, [place], 0.0)[0, 0] > 0.5
    rows, columns = torch.where(bright)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]

    annotated = sample((height, width), boxes=[[30.0, 20.0, 60.0, 40.0]])
    bitmap = np.zeros((1, 64, 96), np.uint8)
    bitmap[:, 20:40, 30:60] = 1
    annotated.gt_instances.masks = BitmapMasks(bitmap, 64, 96)
    moved = place_sample(annotated, place)
    assert moved.gt_instances.bboxes[0].tolist() == [int(edge) for edge in seen] == [40, 19, 55, 29]
    assert np.array_equal(moved.gt_instances.masks.masks[0].astype(bool), bright.numpy())
    assert annotated.gt_instances.bboxes[0].tolist() == [30, 20, 60, 40]

    corner = np.array([30.0, 20.0, 60.0, 20.0, 60.0, 40.0])
    annotated.gt_instances.masks = PolygonMasks([[corner]], 64, 96)
    polygon = place_sample(annotated, place).gt_instances.masks.masks[0][0]
    assert polygon.tolist() == [40, 19, 55, 19, 55, 29]


def test_ignored_boxes_move_too() -> None:
    tiny("retinanet_r18")
    annotated = sample((60, 80))
    annotated.ignored_instances.bboxes = torch.tensor([[0.0, 0.0, 80.0, 60.0]])
    annotated.ignored_instances.labels = torch.zeros(1, dtype=torch.long)
    moved = place_sample(annotated, Placement(30, 40, 9, 25, (60, 80)))
    assert moved.ignored_instances.bboxes.tolist() == [[25, 9, 65, 39]]


def test_uncovered_pixels_get_the_padding_value_and_gradients_pass() -> None:
    image = torch.ones(1, 3, 64, 64, requires_grad=True)
    place = Placement(32, 32, 5, 7, (64, 64))
    out = place_images(image, [place], -2.0)
    assert float(out.detach()[0, 0, 4, 20]) == -2
    assert float(out.detach()[0, 0, 5, 7]) == pytest.approx(1)
    (gradient,) = torch.autograd.grad(out[out > 0].sum(), image)
    assert float(gradient.sum()) == pytest.approx(3 * 32 * 32, rel=1e-5)


def test_images_without_placement_are_untouched() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert place_images(images, [None, None], 0.0) is images
    out = place_images(images, [None, Placement(4, 4, 0, 0, (8, 8))], 0.0)
    assert torch.equal(out[0], images[0])
    assert not torch.equal(out[1], images[1])
