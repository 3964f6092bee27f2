"""Kernels of the rarer detectors, against loops that are their definition, and their gradients against differences."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mmcv.ops
import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor
from torch.nn import functional as F

from ikd.ops import roi_pool as _roi_pool
from tests.assets.ops_cases import random_boxes


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def at(plane: Tensor, y: float, x: float) -> float:
    """Read a map [H, W] bilinearly, 0 off the map."""
    low_y, low_x = math.floor(y), math.floor(x)
    total = 0.0
    for row, column in itertools.product((low_y, low_y + 1), (low_x, low_x + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total += (1 - abs(y - row)) * (1 - abs(x - column)) * float(plane[row, column])
    return total


SHAPES = torch.tensor([[3, 4], [2, 2]])
STARTS = torch.tensor([0, 12])


def attention_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Values [2, 16, 2, 3], locations (some off the map) [2, 5, 2, 2, 3, 2], weights [2, 5, 2, 2, 3]."""
    return draw(2, 16, 2, 3), draw(2, 5, 2, 2, 3, 2, seed=1) * 0.4 + 0.5, draw(2, 5, 2, 2, 3, seed=2)


def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    found: Tensor = MultiScaleDeformableAttnFunction.apply(value, SHAPES, STARTS, locations, weights, 64)
    return found


def test_deformable_attention_is_its_sum() -> None:
    value, locations, weights = attention_inputs()
    found = attend(value, locations, weights).view(2, 5, 2, 3)
    for image, query, head, channel in itertools.product(range(2), range(5), range(2), range(3)):
        total = 0.0
        for level, point in itertools.product(range(2), range(3)):
            height, width = SHAPES[level].tolist()
            cells = value[image, int(STARTS[level]) :][: height * width, head, channel].view(height, width)
            x, y = locations[image, query, head, level, point].tolist()
            total += float(weights[image, query, head, level, point]) * at(cells, y * height - 0.5, x * width - 0.5)
        assert found[image, query, head, channel].item() == pytest.approx(total)


def test_deformable_attention_has_the_gradient_of_its_value() -> None:
    assert torch.autograd.gradcheck(attend, [one.requires_grad_() for one in attention_inputs()])


def test_deformable_attention_in_half_precision_computes_in_single() -> None:
    value, locations, weights = (one.half() for one in attention_inputs())
    found = attend(value, locations, weights)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, attend(value.float(), locations.float(), weights.float()).half())


@pytest.mark.parametrize("name", ["carafe", "carafe_naive"])
@pytest.mark.parametrize(("groups", "scale"), [(1, 2), (2, 3)])
def test_carafe_is_its_sum(name: str, groups: int, scale: int) -> None:
    features, masks = draw(2, 4, 3, 5), draw(2, groups * 9, 3 * scale, 5 * scale, seed=1)
    found = getattr(mmcv.ops, name)(features, masks, 3, groups, scale)
    for image, channel, y, x in itertools.product(range(2), range(4), range(3 * scale), range(5 * scale)):
        total = 0.0
        for i, j in itertools.product(range(3), range(3)):
            row, column = y // scale + i - 1, x // scale + j - 1
            if 0 <= row < 3 and 0 <= column < 5:
                tap = channel // (4 // groups) * 9 + i * 3 + j
                total += float(features[image, channel, row, column] * masks[image, tap, y, x])
        assert found[image, channel, y, x].item() == pytest.approx(total)


def test_carafe_has_the_gradient_of_its_value() -> None:
    inputs = draw(2, 2, 3, 2).requires_grad_(), draw(2, 18, 6, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda *pair: mmcv.ops.carafe(*pair, 3, 2, 2), inputs)


@pytest.mark.filterwarnings("ignore:This overload of addmm is deprecated")  # mmcv 2.3, once a process
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (1, 0), (5, 2)])
def test_masked_convolution_is_the_convolution_where_the_mask_is_and_zero_elsewhere(kernel: int, padding: int) -> None:
    features, weight, bias = draw(1, 3, 6, 7), draw(4, 3, kernel, kernel, seed=1), draw(4, seed=2)
    mask = (draw(1, 6, 7, seed=3) > 0).double()
    found = mmcv.ops.masked_conv2d(features, mask, weight, bias, padding)
    torch.testing.assert_close(found, F.conv2d(features, weight, bias, padding=padding) * mask)


@pytest.mark.parametrize(("threshold", "groups"), [(0.5, [[1, 0], [2]]), (0.51, [[1], [0], [2]])])
def test_match_takes_boxes_from_the_threshold_on(threshold: float, groups: list[list[int]]) -> None:
    half = torch.tensor([[0.0, 0, 2, 1, 0.8], [0.0, 0, 1, 1, 0.9], [5.0, 5, 6, 6, 0.1]])  # IoU 1/2
    assert [group.tolist() for group in mmcv.ops.nms_match(half, threshold)] == groups


def test_match_groups_every_box_once_around_those_that_suppression_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, scores = random_boxes(generator, 80, 100), torch.rand(80, generator=generator)
    groups = mmcv.ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.4)
    assert sorted(torch.cat(groups).tolist()) == list(range(80))
    assert [int(group[0]) for group in groups] == mmcv.ops.nms(boxes, scores, 0.4)[1].tolist()
    assert all((scores[group].diff() <= 0).all() for group in groups)
    assert mmcv.ops.nms_match(torch.zeros(0, 5), 0.4) == []


ROIS = torch.tensor([[0.0, 2, 1, 13, 9], [1.0, 4, 3, 9, 13], [0.0, 5, 5, 5, 5]], dtype=torch.float64)


def deform_pool(features: Tensor, offset: Tensor | None, ratio: int, rois: Tensor = ROIS) -> Tensor:
    found: Tensor = mmcv.ops.deform_roi_pool(features, rois, offset, (2, 3), 0.5, ratio, 0.1)
    return found


@pytest.mark.parametrize("ratio", [0, 2])
def test_deformable_pooling_without_moves_is_aligned_pooling(ratio: int) -> None:
    features = draw(2, 3, 9, 8)
    expected = mmcv.ops.roi_align(features, ROIS, (2, 3), 0.5, ratio, "avg", True)
    torch.testing.assert_close(deform_pool(features, None, ratio), expected)


@pytest.mark.parametrize("ratio", [0, 2])
def test_deformable_pooling_of_a_ramp_moves_by_gamma_times_the_roi(ratio: int) -> None:
    y, x = torch.meshgrid(*[torch.arange(40, dtype=torch.float64)] * 2, indexing="ij")
    rois, features = torch.tensor([[0.0, 30, 26, 42, 34]]).double(), (3 * x + 7 * y)[None, None]
    offset = draw(1, 2, 2, 3)
    moved = deform_pool(features, offset, ratio, rois) - deform_pool(features, None, ratio, rois)
    torch.testing.assert_close(moved[0, 0], 0.1 * (3 * 6 * offset[0, 0] + 7 * 4 * offset[0, 1]))


def test_deformable_pooling_has_the_gradient_of_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = draw(2, 2, 9, 8).requires_grad_(), (draw(3, 2, 2, 3, seed=1) * 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda *pair: deform_pool(*pair, 2), inputs)  # type: ignore[call-arg]
    whole = deform_pool(*inputs, 2)
    monkeypatch.setattr(_roi_pool, "MAX_POINTS", 1)  # one RoI at a time
    assert torch.autograd.gradcheck(lambda *pair: deform_pool(*pair, 2), inputs)  # type: ignore[call-arg]
    torch.testing.assert_close(deform_pool(*inputs, 2), whole)
    assert deform_pool(inputs[0], None, 0, ROIS[:0]).shape == (0, 2, 2, 3)


def test_pooling_takes_the_largest_value_of_each_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    features = draw(2, 3, 9, 8)
    found = mmcv.ops.roi_pool(features, ROIS, (2, 3), 0.5)
    for roi, channel, i, j in itertools.product(range(3), range(3), range(2), range(3)):
        image, x1, y1, x2, y2 = ROIS[roi].tolist()
        height, width = (y2 + 1 - y1) / 2 / 2, (x2 + 1 - x1) / 2 / 3
        rows = slice(math.floor(y1 / 2 + i * height), math.ceil(y1 / 2 + (i + 1) * height))
        columns = slice(math.floor(x1 / 2 + j * width), math.ceil(x1 / 2 + (j + 1) * width))
        window = features[int(image), channel, rows, columns]
        assert found[roi, channel, i, j] == (window.max() if window.numel() else 0)
    monkeypatch.setattr(_roi_pool, "MAX_SAMPLES", 1)
    assert torch.equal(mmcv.ops.roi_pool(features, ROIS, (2, 3), 0.5), found)


def test_pooling_has_the_gradient_of_its_value_and_none_for_an_empty_bin() -> None:
    features = draw(2, 2, 9, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda one: mmcv.ops.roi_pool(one, ROIS, (2, 3), 0.5), features)
    off = torch.tensor([[0.0, 100, 100, 120, 120]], dtype=torch.float64)
    nothing = mmcv.ops.roi_pool(features, off, (2, 3), 0.5)
    assert not nothing.any()
    assert not torch.autograd.grad(nothing.sum(), features)[0].any()


def modulated(features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Any:
    return mmcv.ops.modulated_deform_conv2d(features, offset, mask, weight, None, 1, 1)


@pytest.mark.slow
def test_offsets_of_a_finer_map_are_read_by_the_steps_of_the_output() -> None:
    """What the compiled kernel does and DyHead relies on: the first numbers of an image, in the output's shape."""
    features, weight = draw(2, 2, 3, 2), draw(2, 2, 3, 3, seed=1)
    fine = draw(2, 18, 6, 4, seed=2) * 0.5, draw(2, 9, 6, 4, seed=3)
    read = [one.flatten(1)[:, : width * 6].reshape(2, width, 3, 2) for one, width in zip(fine, (18, 9), strict=True)]
    assert torch.equal(modulated(features, *fine, weight), modulated(features, *read, weight))  # type: ignore[call-arg]
    leaves = [features, *fine, weight]
    assert torch.autograd.gradcheck(modulated, [one.requires_grad_() for one in leaves])


def test_offsets_of_a_coarser_map_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a number for every position of the output; got \(1, 18, 2, 2\) for an"):
        modulated(draw(1, 2, 4, 4), draw(1, 18, 2, 2), draw(1, 9, 2, 2), draw(3, 2, 3, 3))
