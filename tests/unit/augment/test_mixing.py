"""Sizes, fillings, colours, mosaics and mixtures: what they do to an image, its copies, boxes and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ikd import augment
from ikd.augment.mixing import MIXED, TILES, MixUp, Mosaic
from ikd.augment.photometric import Photometric
from ikd.augment.scales import MultiScale, Window
from ikd.config import Input
from ikd.errors import BadInput
from tests.unit.augment.samples import LARGE, sample
from tests.unit.augment.test_pipeline import dataset

SCALE = (160, 160)
PERTURBED = {"type": "tests.unit.augment.samples.Constant", "value": 4}
pytestmark = pytest.mark.usefixtures("mmdet_scope")


def settings(**sections: Any) -> Input:
    return Input.model_validate({name: {"enabled": True, **value} for name, value in sections.items()})


def made(drawn: Path, given: Input, *, seed: int = 0, index: int = 0, **options: Any) -> dict[str, Any]:
    """Return a packed sample with the entries of the others that mosaic, mixup and copy-paste take."""
    items = dataset(drawn, augment.train_pipeline(scale=SCALE, settings=given, mixes=given.mixes, **options))
    entry = items.get_data_info(index)
    entry[TILES] = [items.get_data_info(other) for other in (1, 2, 3)]
    entry[MIXED] = [items.get_data_info(4)]
    entry["partner"] = items.get_data_info(5)
    np.random.seed(seed)
    found: dict[str, Any] = items.pipeline(entry)
    return found


def within(packed: dict[str, Any]) -> None:
    """Check that boxes lie within the image, and masks within their boxes."""
    instances, (height, width) = packed["data_samples"].gt_instances, packed["inputs"].shape[1:]
    boxes = instances.bboxes.tensor
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= boxes.new_tensor([width, height])).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    if "masks" in instances:
        for mask, box in zip(instances.masks.masks, boxes.numpy(), strict=True):
            rows, columns = np.nonzero(mask)
            if len(rows):
                assert (np.array([columns.min(), rows.min()]) >= box[:2] - 3).all()
                assert (np.array([columns.max() + 1, rows.max() + 1]) <= box[2:] + 3).all()


def test_a_mosaic_puts_four_images_about_its_point() -> None:
    """Each stands with one corner at the point; what lies beyond the canvas is cut off, with its boxes."""
    mosaic = Mosaic([], scale=(100, 80), probability=1.0, centre=(0.5, 0.5), fill=9)
    tiles = []
    for value in (1, 2, 3, 4):
        tile = sample([[10.0, 10.0, 30.0, 20.0]], (40, 60), gt_bboxes_labels=np.array([value]))
        tiles.append(tile | {"img": np.full((40, 60, 3), value, np.uint8)})
    found = mosaic(tiles[0] | {TILES: tiles[1:]})
    image = found["img"][..., 0]
    assert image.shape == found["img_shape"] == (160, 200)
    assert (image[:40, :50] == 1).all()
    assert (image[:40, 50:110] == 2).all()
    assert (image[40:80, :50] == 3).all()
    assert (image[40:80, 50:110] == 4).all()
    assert (image[80:] == 9).all()
    assert (image[:, 110:] == 9).all()
    by_label = dict(zip(found["gt_bboxes_labels"].tolist(), found["gt_bboxes"].tensor.tolist(), strict=True))
    assert by_label[1] == [0, 10, 20, 20], "its left 10 px are beyond the canvas"
    assert by_label[2] == [60, 10, 80, 20]
    assert by_label[3] == [0, 50, 20, 60]
    assert by_label[4] == [60, 50, 80, 60]


def test_a_mixture_is_half_of_each() -> None:
    one = sample([LARGE], (100, 120)) | {"img": np.full((100, 120, 3), 100, np.uint8)}
    other = sample([LARGE], (100, 120)) | {"img": np.full((100, 120, 3), 200, np.uint8)}
    mix = MixUp([], probability=1.0, jitter=(0.5, 0.5), fill=0, flip=0.0)
    found = mix(one | {MIXED: [other]})
    assert sorted(np.unique(found["img"])) == [50, 150], "beside the other one, and on it"
    assert (found["img"] == 150).sum() == 50 * 60 * 3
    assert len(found["gt_bboxes"]) == 2
    shift = found["gt_bboxes"].tensor[1] - torch.tensor(LARGE) / 2
    assert shift[0] == shift[2] >= 0
    assert shift[1] == shift[3] >= 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("with_masks", [False, True])
def test_every_section_together_keeps_boxes_masks_and_copies_in_place(drawn: Path, seed: int, with_masks: bool) -> None:
    """Perturbed copies are the images plus 4 grey levels wherever a picture is: attached before, and moved along."""
    given = settings(
        mosaic={}, multi_scale={"ratio": (0.5, 1.5)}, pad={"size": (192, 192)}, copy_paste={"probability": 1.0}
    )
    packed = made(drawn, given, seed=seed, perturbations=PERTURBED, with_masks=with_masks, augment={"noise": None})
    assert packed["inputs"].shape == packed["adversarial"].shape == (3, 192, 192)
    within(packed)
    difference = packed["adversarial"].int() - packed["inputs"].int()
    assert difference.min() >= 0
    assert difference.max() <= 5
    assert (difference.float() > 2).float().mean() > 0.2
    assert ("masks" in packed["data_samples"].gt_instances) == with_masks


def test_noise_in_a_mosaic_is_that_of_images_whose_own_boxes_ask_for_it(drawn: Path) -> None:
    """Every image is judged by itself: the perturbed copy, which has no noise, shows where there is any."""
    items = dataset(drawn, [])
    areas = []
    for index in range(4):
        boxes = [one["bbox"] for one in items.get_data_info(index)["instances"]]
        areas.append(max((right - left) * (below - above) for left, above, right, below in boxes))
    noisy = {"noise": {"probability": 1.0, "sigma": 0.2}, "crop": None, "area_threshold": float(np.median(areas))}
    given = settings(mosaic={"centre": (1.0, 1.0)})
    shares = []
    for seed in range(8):
        packed = made(drawn, given, seed=seed, perturbations=PERTURBED | {"value": 0}, augment=noisy, flip=0.0)
        difference = (packed["adversarial"].int() - packed["inputs"].int()).abs().amax(0) > 0
        shares.append(difference.float().mean().item())
    assert 0.05 < max(shares) < 0.99, "some quarters have noise, and some have none"


def test_without_mosaic_an_image_is_as_it_was(drawn: Path) -> None:
    """Of probability 0, and of none, are the same samples; the point and the three others count otherwise."""
    none = made(drawn, Input(), seed=3)
    never = made(drawn, settings(mosaic={"probability": 0.0}), seed=3, flip=0.0)
    assert torch.equal(made(drawn, Input(), seed=3, flip=0.0)["inputs"], never["inputs"])
    fixed = {"centre": (1.0, 1.0)}
    images = [made(drawn, settings(mosaic=fixed | more), seed=3)["inputs"] for more in ({}, {"centre": (0.5, 0.6)})]
    assert not torch.equal(*images)
    assert not torch.equal(images[0], none["inputs"])
    assert (made(drawn, settings(mosaic={"centre": (0.5, 0.5), "fill": 7}), seed=1)["inputs"] == 7).any()


def test_sizes_are_drawn_between_their_ends_or_from_the_list(drawn: Path) -> None:
    def sizes(**section: Any) -> set[int]:
        given = settings(multi_scale={"crop": False, **section})
        return {max(made(drawn, given, seed=seed)["inputs"].shape[1:]) for seed in range(15)}

    found = sizes(ratio=(0.5, 1.5))
    assert min(found) >= 80
    assert max(found) <= 240
    assert len(found) > 6
    assert sizes(scales=((64, 64), (96, 96))) == {64, 96}
    assert max(sizes(ratio=(2.0, 2.0), crop=True)) == 160


def test_the_scale_factor_is_that_from_the_original() -> None:
    transform = MultiScale(scale=(120, 100), keep_ratio=True, ratio=(0.5, 0.5), scales=())
    found = transform(sample([LARGE], (100, 120)) | {"scale_factor": (2.0, 2.0)})
    assert found["scale_factor"] == (1.0, 1.0)
    assert found["gt_bboxes"].tensor.tolist() == [[side / 2 for side in LARGE]]


@pytest.mark.parametrize(("size", "window"), [((300, 100), (120, 80)), ((100, 300), (80, 120)), ((50, 50), (50, 50))])
def test_a_window_turns_with_the_image(size: tuple[int, int], window: tuple[int, int]) -> None:
    cut = Window((120, 80), upright=True, allow_negative_crop=True)
    assert cut(sample([LARGE], size))["img"].shape[:2] == window
    across = Window((120, 80), upright=False, allow_negative_crop=True)
    assert across(sample([LARGE], size))["img"].shape[:2] == tuple(
        min(*pair) for pair in zip(size, (80, 120), strict=True)
    )


def test_a_window_without_boxes_is_kept_where_empty_images_are() -> None:
    far = sample([[0.0, 0.0, 2.0, 2.0]], (400, 400))
    np.random.seed(1)
    assert Window((50, 50), upright=True, allow_negative_crop=False)(dict(far)) is None
    assert Window((50, 50), upright=True, allow_negative_crop=True)(dict(far)) is not None


def test_pad_fills_in_training_and_test_alike(drawn: Path) -> None:
    given = settings(pad={"size": (224, 192), "fill": 77})
    packed = made(drawn, given, flip=0.0)
    plain = made(drawn, Input(), flip=0.0)["inputs"]
    height, width = plain.shape[1:]
    assert packed["inputs"].shape == (3, 192, 224)
    assert torch.equal(packed["inputs"][:, :height, :width], plain)
    assert (packed["inputs"][:, height:] == 77).all()
    assert packed["data_samples"].img_shape == (192, 224)
    shown = dataset(drawn, augment.test_pipeline(scale=SCALE, pad=given.pad))[0]
    assert torch.equal(shown["inputs"], packed["inputs"])


@pytest.mark.parametrize("kind", ["hsv", "distortion"])
def test_colours_vary_alike_in_image_and_reference_and_not_in_perturbed_copies(kind: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    transform = Photometric(kind=kind, hue=5, saturation=30, brightness=30)
    stack = np.concatenate([picture] * 3, axis=2)
    changed = 0
    for seed in range(10):
        np.random.seed(seed)
        before = np.random.rand(3)
        np.random.seed(seed)
        found = transform({"img": stack.copy(), "copies": ("reference", "adversarial")})["img"]
        assert np.array_equal(np.random.rand(3), before), "no other draw moves"
        assert np.array_equal(found[..., :3], found[..., 3:6])
        assert np.array_equal(found[..., 6:], picture)
        changed += not np.array_equal(found[..., :3], picture)
    assert changed >= 8


def test_strengths_of_hsv_act() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    still = Photometric(kind="hsv", hue=0, saturation=0, brightness=0)({"img": picture.copy()})["img"]
    assert np.abs(still.astype(int) - picture).max() <= 6, "there and back again"
    for name in ("hue", "saturation", "brightness"):
        strengths = {"hue": 0, "saturation": 0, "brightness": 0, name: 60}
        differs: list[bool] = []
        for seed in range(20):
            np.random.seed(seed)
            found = Photometric(kind="hsv", **strengths)({"img": picture.copy()})["img"]
            differs.append(not np.array_equal(found, still))
        assert any(differs), name


def test_samples_without_other_images_are_refused() -> None:
    with pytest.raises(BadInput, match="mosaic: needs other images under the sample's 'tiles'"):
        Mosaic([], scale=SCALE, fill=0, probability=1.0, centre=(1.0, 1.0))(sample([LARGE]))
    with pytest.raises(BadInput, match="mixup: needs other images under the sample's 'mixed'"):
        MixUp([], probability=1.0, jitter=(1.0, 1.0), fill=0, flip=0.0)(sample([LARGE]))
