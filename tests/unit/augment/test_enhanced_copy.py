"""Masking enhancement in place of the image, or as a copy beside it and the adversarial one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikd import augment
from ikd.augment import AttachPerturbation, PackPair, SampleSpecificAugment, TeacherBoxes
from ikd.data import image_digest
from tests.unit.augment.samples import LARGE, SMALL, Constant, image_file, sample
from tests.unit.augment.test_pipeline import SCALE, dataset, original

ALWAYS = {"probability": 1.0}
LITTLE, MUCH = [[0.0, 0.0, 30.0, 30.0, 0.9]], [[0.0, 0.0, 120.0, 90.0, 0.9]]


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """What a teacher sees in images 7 (little) and 8 (much) of 100 x 120 px."""
    file = tmp_path / "boxes.npz"
    found = {7: np.array(LITTLE, np.float32), 8: np.array(MUCH, np.float32)}
    TeacherBoxes.write(file, {image_digest(image_file(number)): rows for number, rows in found.items()})
    return file


def transform(boxes: Path, form: str, *, pair: bool = True, **options: Any) -> SampleSpecificAugment:
    geometry: list[Any] = [{"type": "Resize", "scale": (120, 100)}]
    if pair:
        geometry.append(AttachPerturbation(Constant(5, (100, 120))))
    geometry.append({"type": "RandomFlip", "prob": 1.0})
    enhancement = {"boxes": str(boxes), "form": form}
    settings = {"noise": ALWAYS, "crop": {"min_ratio": 0.5}, **options}
    return SampleSpecificAugment(enhancement=enhancement, transforms=geometry, **settings)


def packed(step: SampleSpecificAugment, number: int) -> dict[str, Any]:
    results = step(sample([LARGE, SMALL], number=number))
    assert results is not None
    return PackPair()(results)


def flipped(size: tuple[int, int] = (100, 120)) -> np.ndarray[Any, Any]:
    return sample([SMALL], size)["img"][:, ::-1].transpose(2, 0, 1)


@pytest.mark.parametrize("pair", [False, True])
def test_added_leaves_image_boxes_and_adversarial_copy_alone(boxes: Path, *, pair: bool) -> None:
    np.random.seed(0)
    for image_id, what in ((7, "noise"), (8, "crop")):
        made = packed(transform(boxes, "added", pair=pair), image_id)
        names = ["data_samples", "enhanced", "inputs"]
        assert sorted(made) == (["adversarial", *names] if pair else names)
        assert np.array_equal(made["inputs"].numpy(), flipped())
        if pair:
            assert np.array_equal(made["adversarial"].numpy(), flipped() + 5)
        info = made["data_samples"]
        assert (info.altered, info.enhanced) == (what, False)
        x1, y1, x2, y2 = LARGE
        assert info.gt_instances.bboxes.tensor[0].tolist() == [120 - x2, y1, 120 - x1, y2]
        copy = made["enhanced"].numpy()
        if what == "noise":
            assert copy.shape == (3, 100, 120)
            assert np.std(copy[2].astype(float) - 128) == pytest.approx(20.4, rel=0.05)
        else:
            height, width = copy.shape[1:]
            assert 50 <= height <= 100
            assert 60 <= width <= 120
            assert (height, width) != (100, 120)
            top, left = int(copy[0, 0, 0]), 119 - int(copy[1, 0, 0])
            assert np.array_equal(copy, flipped()[:, top : top + height, left : left + width])


def test_replaced_alters_the_image_and_crops_its_adversarial_copy_too(boxes: Path) -> None:
    np.random.seed(0)
    noisy, cropped = (packed(transform(boxes, "replaced"), image_id) for image_id in (7, 8))
    assert sorted(noisy) == sorted(cropped) == ["adversarial", "data_samples", "inputs"]
    assert np.ptp(noisy["inputs"][2].numpy()) > 0
    assert np.array_equal(noisy["adversarial"].numpy(), flipped() + 5)
    assert cropped["inputs"].shape == cropped["adversarial"].shape != (3, 100, 120)
    assert [one["data_samples"].altered for one in (noisy, cropped)] == ["noise", "crop"]
    assert all(one["data_samples"].enhanced for one in (noisy, cropped))


def test_what_is_left_as_it_is_comes_in_addition_all_the_same(boxes: Path) -> None:
    """Eq. 8 is over the whole batch: A(x) is x where the noise was not drawn."""
    made = packed(transform(boxes, "added", noise={"probability": 0.0}, crop=None), 7)
    assert np.array_equal(made["enhanced"].numpy(), made["inputs"].numpy())
    assert "altered" not in made["data_samples"].metainfo
    replaced = packed(transform(boxes, "replaced", noise=None, crop=None), 8)
    assert "enhanced" not in replaced["data_samples"].metainfo


def test_an_image_whose_crop_holds_no_box_is_kept(boxes: Path) -> None:
    """The boxes are the clean image's: nothing is drawn in its place."""
    np.random.seed(0)
    step = transform(boxes, "added")
    for _ in range(30):
        results = step(sample([[0, 0, 4, 4]], number=8))
        assert results is not None
        assert len(results["gt_bboxes"]) == 1


@pytest.mark.usefixtures("mmdet_scope")
@pytest.mark.parametrize("order", ["flip_crop", "crop_flip"])
def test_copies_flip_with_their_image_in_both_orders(drawn: Path, tmp_path: Path, order: Any) -> None:
    file = tmp_path / "all.npz"
    everything = np.array([[0, 0, 160, 160, 1.0]], np.float32)
    names = map(image_digest, (drawn / "images").iterdir())
    TeacherBoxes.write(file, dict.fromkeys(names, everything))
    settings = {"enhancement": {"boxes": str(file), "form": "added"}, "crop": {"min_ratio": 1.0}}
    pipeline = augment.train_pipeline(scale=SCALE, flip=1.0, order=order, augment=settings)
    made = dataset(drawn, pipeline)[2]
    assert np.array_equal(made["inputs"].numpy(), original(drawn, 2)[:, :, ::-1])
    assert np.array_equal(made["enhanced"].numpy(), made["inputs"].numpy())


def test_of_ikds_rule_nothing_is_enhanced() -> None:
    np.random.seed(0)
    step = SampleSpecificAugment(noise=ALWAYS, crop={"min_ratio": 0.5})
    for boxes, what in (([SMALL], "noise"), ([LARGE], "crop")):
        info = PackPair()(step(sample(boxes)))["data_samples"]
        assert (info.altered, info.enhanced) == (what, False)
    untouched = SampleSpecificAugment(noise=None)(sample([SMALL]))
    assert untouched is not None
    assert "altered" not in untouched
