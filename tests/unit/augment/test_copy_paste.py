"""Copy-paste and cutout keep boxes, masks, crowds and copies right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from numpy.typing import NDArray

from ikd import augment
from ikd.augment import PARTNER, CopyPaste
from ikd.config import CopyPaste as Section
from ikd.config import Cutout, Input
from ikd.errors import BadInput
from tests.unit.augment.samples import sample
from tests.unit.augment.test_pipeline import SCALE, dataset, original

SIZE = (100, 120)


def picture(value: int, boxes: list[list[float]], size: tuple[int, int] = SIZE, **more: Any) -> dict[str, Any]:
    """A sample of one grey, with masks that leave out the upper left quarter of each box."""
    masks = np.zeros((len(boxes), *size), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, np.array(boxes, int).reshape(-1, 4), strict=True):
        mask[y1:y2, x1:x2] = 1
        mask[y1 : (y1 + y2) // 2, x1 : (x1 + x2) // 2] = 0
    image = np.full((*size, 3), value, np.uint8)
    return sample(boxes, size, img=image, gt_masks=BitmapMasks(masks, *size), **more)


class Given:
    """Stands for what loads the partner."""

    def __call__(self, entry: dict[str, Any]) -> dict[str, Any]:
        return dict(entry)


def paste(results: dict[str, Any], partner: dict[str, Any], **options: Any) -> dict[str, Any]:
    settings = {"probability": 1.0, "objects": 100, "by": "box", "keep_masks": True, **options}
    return CopyPaste([Given()], **settings)({**results, PARTNER: partner})


def tensor(results: dict[str, Any]) -> list[list[float]]:
    return results["gt_bboxes"].tensor.tolist()


def test_a_box_is_pasted_where_it_was() -> None:
    made = paste(picture(10, [[60, 60, 100, 90]]), picture(200, [[5, 6, 25, 36]], gt_bboxes_labels=np.array([3])))
    expected = np.full(SIZE, 10)
    expected[6:36, 5:25] = 200
    assert made["img"].dtype == np.uint8
    assert np.array_equal(made["img"][..., 0], expected)
    assert tensor(made) == [[60, 60, 100, 90], [5, 6, 25, 36]]
    assert made["gt_bboxes_labels"].tolist() == [0, 3]
    assert made["gt_ignore_flags"].tolist() == [False, False]
    assert made["gt_masks"].masks.shape == (2, *SIZE)
    assert isinstance(made["gt_bboxes"], HorizontalBoxes)


def test_by_mask_only_the_outline_is_pasted() -> None:
    made = paste(picture(10, [[60, 60, 100, 90]]), picture(200, [[4, 6, 24, 36]]), by="mask")
    mask = made["gt_masks"].masks[1].astype(bool)
    assert np.array_equal(made["img"][..., 1] == 200, mask)
    assert 0 < mask.sum() == 600 - 150
    assert tensor(made)[1] == [4, 6, 24, 36]


@pytest.mark.parametrize("by", ["box", "mask"])
def test_hidden_objects_shrink_or_go_and_others_stay_exactly(by: str) -> None:
    boxes = [[60.25, 60.5, 100.75, 90.0], [0.0, 0.0, 40.0, 40.0], [10.0, 45.0, 50.0, 55.0]]
    # the first is not touched, the second entirely hidden, the third from x = 30 on
    partner = picture(200, [[0, 0, 60, 44], [30, 44, 58, 59]])
    partner["gt_masks"].masks[0, :44, :60] = 1
    partner["gt_masks"].masks[1, 44:59, 30:58] = 1
    for seed in range(50):
        np.random.seed(seed)
        made = paste(picture(10, boxes), partner, by=by)
        if len(made["gt_bboxes"]) == 4:  # both were pasted
            break
    else:
        raise AssertionError("both are never pasted")
    assert tensor(made)[0] == boxes[0]
    assert made["gt_bboxes_labels"].tolist() == [0, 2, 0, 1]
    assert tensor(made)[1] == [10, 45 if by == "box" else 50, 30, 55]  # the masks lack their upper left quarter
    left = made["gt_masks"].masks[1]
    assert left[:, 30:].sum() == 0
    assert left.sum() > 0


def test_crowds_are_never_pasted_and_stay_where_they_are() -> None:
    image = picture(10, [[0, 0, 50, 50], [60, 60, 90, 90]], gt_ignore_flags=np.array([True, False]))
    partner = picture(200, [[0, 0, 50, 50], [2, 2, 48, 48]], gt_ignore_flags=np.array([True, False]))
    for _ in range(20):
        made = paste(image, partner)
        assert tensor(made) == [[0, 0, 50, 50], [60, 60, 90, 90], [2, 2, 48, 48]]
        assert made["gt_ignore_flags"].tolist() == [True, False, False]
    only_crowds = picture(200, [[0, 0, 50, 50]], gt_ignore_flags=np.array([True]))
    assert tensor(paste(image, only_crowds)) == tensor(image)


def test_another_size_is_cut_and_what_falls_out_is_not_pasted() -> None:
    wide = picture(200, [[100, 10, 160, 30], [118, 40, 178, 60], [10, 130, 30, 150]], size=(160, 180))
    for _ in range(20):
        made = paste(picture(10, [[1, 1, 9, 9]]), wide)
        assert made["img"].shape == (*SIZE, 3)
        assert tensor(made) == [[1, 1, 9, 9], [100, 10, 120, 30]]
    small = picture(200, [[10, 10, 30, 30]], size=(40, 50))
    assert tensor(paste(picture(10, []), small)) == [[10, 10, 30, 30]]


def test_all_copies_get_the_object_and_each_its_own_where_there_is_one() -> None:
    image, partner = picture(10, []), picture(200, [[10, 10, 30, 30]])
    image["img"] = np.concatenate([image["img"], image["img"] + 1, image["img"] + 2], axis=2)
    image["copies"] = ("enhanced", "adversarial")
    partner["img"] = np.concatenate([partner["img"], partner["img"] + 7], axis=2)
    partner["copies"] = ("adversarial",)
    made = paste(image, partner)
    assert made["img"][20, 20].tolist() == [200] * 6 + [207] * 3
    assert made["img"][50, 50].tolist() == [10] * 3 + [11] * 3 + [12] * 3
    assert made["copies"] == ("enhanced", "adversarial")


def test_number_and_probability_act() -> None:
    boxes = [[10.0 * i, 0.0, 10.0 * i + 8, 8.0] for i in range(10)]
    counts: dict[int, set[int]] = {}
    np.random.seed(0)
    for most in (1, 3, 100):
        counts[most] = {len(paste(picture(10, []), picture(200, boxes), objects=most)["gt_bboxes"]) for _ in range(80)}
    assert counts == {1: {1}, 3: {1, 2, 3}, 100: set(range(1, 11))}
    pasted = [len(paste(picture(1, []), picture(2, boxes), probability=0.3)["gt_bboxes"]) > 0 for _ in range(300)]
    assert np.mean(pasted) == pytest.approx(0.3, abs=0.08)


def test_masks_go_where_the_detector_has_no_use_for_them() -> None:
    for probability in (0.0, 1.0):
        made = paste(
            picture(1, [[1, 1, 9, 9]]), picture(2, [[10, 10, 20, 20]]), probability=probability, keep_masks=False
        )
        assert "gt_masks" not in made
        assert PARTNER not in made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probability": 1.5}, r"input: copy_paste\.probability: must be in 0\.\.1, but got 1\.5"),
        ({"objects": 0}, r"input: copy_paste\.objects: must be a whole number, 1 or more, but got 0"),
        ({"by": "hand"}, r"input: copy_paste\.by: must be mask or box, but got 'hand'"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        paste(picture(1, []), picture(2, []), **options)


def test_a_sample_without_partner_is_refused() -> None:
    with pytest.raises(BadInput, match="copy_paste: needs another image under the sample's 'partner'"):
        CopyPaste([], keep_masks=True)(picture(1, []))


@pytest.mark.usefixtures("mmdet_scope")
class TestCutout:
    """Black rectangles in every copy; nothing else changes."""

    def made(self, drawn: Path, cutout: Cutout, index: int = 2, **options: Any) -> dict[str, Any]:
        settings = Input(cutout=cutout)
        return dataset(drawn, augment.train_pipeline(scale=SCALE, flip=0.0, settings=settings, **options))[index]

    def holes(self, drawn: Path, cutout: Cutout, times: int = 1) -> list[NDArray[np.bool_]]:
        samples = dataset(drawn, augment.train_pipeline(scale=SCALE, flip=0.0, settings=Input(cutout=cutout)))
        plain = original(drawn, 2)
        return [np.asarray((samples[2]["inputs"].numpy() != plain).any(axis=0)) for _ in range(times)]

    def test_size_number_and_probability_act(self, drawn: Path) -> None:
        np.random.seed(0)
        shares = [hole.mean() for hole in self.holes(drawn, Cutout(enabled=True, probability=1.0, ratio=0.25), 30)]
        assert 0 < np.mean(shares) <= max(shares) <= 0.25**2
        many = self.holes(drawn, Cutout(enabled=True, probability=1.0, ratio=0.25, holes=4), 30)
        more = [hole.mean() for hole in many]
        assert np.mean(more) > 2 * np.mean(shares)
        larger = [hole.mean() for hole in self.holes(drawn, Cutout(enabled=True, probability=1.0, ratio=0.5), 30)]
        assert np.mean(larger) > 2 * np.mean(shares)
        some = [hole.any() for hole in self.holes(drawn, Cutout(enabled=True, probability=0.3), 60)]
        assert 0.1 < np.mean(some) < 0.55
        assert not self.holes(drawn, Cutout(probability=1.0))[0].any()

    def test_boxes_stay_and_copies_have_the_same_holes(self, drawn: Path) -> None:
        np.random.seed(1)
        cutout = Cutout(enabled=True, probability=1.0, holes=5)
        reader = {"type": "tests.unit.augment.samples.Constant", "value": 1}
        made, plain = self.made(drawn, cutout, perturbations=reader), self.made(drawn, Cutout(), perturbations=reader)
        assert made["data_samples"].gt_instances.bboxes.tensor.equal(plain["data_samples"].gt_instances.bboxes.tensor)
        black = [(made[key] == 0).all(dim=0) for key in ("inputs", "adversarial")]
        assert black[1].sum() > 100
        assert (black[0] | ~black[1]).all()


@pytest.mark.usefixtures("mmdet_scope")
@pytest.mark.parametrize("by", ["mask", "box"])
def test_a_whole_pipeline_pastes_and_packs(drawn: Path, by: Any) -> None:
    """With partner, pair, crop and flip; masks are packed only where they are asked for."""
    copy_paste = Section(enabled=True, probability=1.0, by=by)
    for with_masks in (False, True):
        pipeline = augment.train_pipeline(
            scale=SCALE,
            augment={"crop": {"min_ratio": 0.7}},
            perturbations={"type": "tests.unit.augment.samples.Constant", "value": 4},
            with_masks=with_masks,
            settings=Input(copy_paste=copy_paste, cutout=Cutout(enabled=True)),
        )
        items = dataset(drawn, pipeline)
        np.random.seed(0)
        for index in range(10):
            entry = items.get_data_info(index)
            entry[PARTNER] = items.get_data_info((index + 1) % 10)
            made = items.pipeline(entry)
            if made is None:
                continue
            instances, (height, width) = made["data_samples"].gt_instances, made["inputs"].shape[1:]
            assert made["adversarial"].shape == made["inputs"].shape
            boxes = instances.bboxes.tensor
            assert (boxes >= 0).all()
            assert (boxes[:, 2:] <= boxes.new_tensor([width, height])).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert ("masks" in instances) == with_masks
            if with_masks:
                assert len(instances.masks) == len(boxes) == len(instances.labels)
                for mask, box in zip(instances.masks.masks, boxes.numpy(), strict=True):
                    rows, columns = np.nonzero(mask)
                    if len(rows):
                        assert (np.array([columns.min(), rows.min()]) >= box[:2] - 2).all()
                        assert (np.array([columns.max() + 1, rows.max() + 1]) <= box[2:] + 2).all()
