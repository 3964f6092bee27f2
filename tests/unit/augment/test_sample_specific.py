from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks

from ikd.augment import AttachPerturbation, SampleSpecificAugment, TeacherBoxes, corrupt, is_small
from ikd.config import Augment, Crop, Distill, Noise
from ikd.errors import BadInput
from tests.unit.augment.samples import LARGE, SMALL, Constant, Still, sample

ALWAYS = {"probability": 1.0}


def noisy(results: dict[str, Any] | None) -> bool:
    """Tells whether the constant third channel of a sample is constant no more."""
    assert results is not None
    return bool(np.ptp(results["img"][..., 2]) > 0)


def cropped(results: dict[str, Any] | None) -> bool:
    assert results is not None
    return bool(results["img"].shape[:2] != (100, 120))


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], True),
        ([[0, 0, 31, 33]], True),  # 1023
        ([[0, 0, 32, 32]], False),  # 1024: not below
        ([[0, 0, 10, 10]] * 90 + [[0, 0, 40, 40]], False),
        ([[5, 7, 15, 17], [90, 80, 100, 90]], True),
    ],
)
def test_small_means_every_box_below_the_threshold(boxes: list[list[float]], expected: bool) -> None:
    assert is_small(boxes, 1024) is expected


def test_crowds_do_not_count() -> None:
    assert not is_small([SMALL, LARGE], 1024, ignored=[True, False])
    assert is_small([SMALL, LARGE], 1024, ignored=[False, True])
    np.random.seed(0)
    results = sample([SMALL, LARGE], gt_ignore_flags=np.array([False, True]))
    assert noisy(SampleSpecificAugment(noise=ALWAYS)(results))


@pytest.mark.parametrize("sigma", [0.02, 0.08, 0.2])
def test_noise_has_the_given_standard_deviation(sigma: float) -> None:
    np.random.seed(0)
    grey = np.full((200, 200, 3), 128, np.uint8)
    difference = corrupt(grey, sigma).astype(float) - 128
    # rounding to grey levels adds 1/12; clipping at 2.5 sigma of 0.2 takes a little
    assert difference.std() / 255 == pytest.approx(sigma, rel=0.02)
    assert abs(np.corrcoef(difference[..., 0].ravel(), difference[..., 1].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(difference[:, 1:, 0].ravel(), difference[:, :-1, 0].ravel())[0, 1]) < 0.02


def test_noise_is_that_of_the_formula() -> None:
    image = np.random.RandomState(1).randint(0, 256, (9, 8, 3)).astype(np.uint8)
    np.random.seed(3)
    result = corrupt(image, 0.08)
    np.random.seed(3)
    expected = np.clip(image / 255 + np.random.normal(0, 0.08, image.shape), 0, 1) * 255
    assert result.dtype == np.uint8
    assert np.array_equal(result, expected.astype(np.uint8))


def test_noise_and_crop_have_complementary_conditions() -> None:
    augment = SampleSpecificAugment(noise=ALWAYS, crop={"min_ratio": 0.5})
    np.random.seed(0)
    for boxes, small in (([SMALL], True), ([], True), ([LARGE], False), ([SMALL] * 90 + [LARGE], False)):
        for _ in range(20):
            results = augment(sample(boxes))
            if results is not None:
                assert noisy(results) == small
                assert not (small and cropped(results))
    assert sum(cropped(augment(sample([LARGE]))) for _ in range(20)) >= 19


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_probabilities_are_kept(probability: float) -> None:
    np.random.seed(0)
    augment = SampleSpecificAugment(noise={"probability": probability}, crop={"probability": probability})
    small = np.mean([noisy(augment(sample([SMALL]))) for _ in range(300)])
    large = np.mean([cropped(augment(sample([LARGE]))) for _ in range(300)])
    assert small == pytest.approx(probability, abs=0.08)
    assert large == pytest.approx(probability, abs=0.08)


def test_defaults_are_those_of_a_recipe(tmp_path: Path) -> None:
    TeacherBoxes.write(tmp_path / "boxes.npz", {})
    boxes = {"boxes": str(tmp_path / "boxes.npz")}
    augment, section, me = SampleSpecificAugment(enhancement=boxes), Augment(), Distill().me
    assert augment.noise == {name: getattr(section.noise, name) for name in Noise.model_fields if name != "enabled"}
    assert augment.crop == {name: getattr(section.crop, name) for name in Crop.model_fields if name != "enabled"}
    assert augment.enhancement == {**boxes, "theta": me.theta, "min_score": me.min_score, "form": me.form}
    assert (augment.area_threshold, augment.published) == (section.area_threshold, section.published)


def test_papers_values_are_the_defaults() -> None:
    augment = SampleSpecificAugment()
    assert (augment.area_threshold, augment.published) == (1024, False)
    assert (augment.noise, augment.crop) == (
        {"sigma": 0.08, "probability": 0.3},
        {"min_ratio": 0.8, "probability": 1.0},
    )


def test_none_switches_a_branch_off() -> None:
    np.random.seed(0)
    assert not any(noisy(SampleSpecificAugment(noise=None)(sample([SMALL]))) for _ in range(20))
    assert not any(cropped(SampleSpecificAugment(crop=None)(sample([LARGE]))) for _ in range(20))


def test_the_threshold_acts_and_counts_original_pixels() -> None:
    box = [10.0, 10.0, 40.0, 40.0]  # 900 px^2
    np.random.seed(0)
    assert noisy(SampleSpecificAugment(900.01, noise=ALWAYS)(sample([box])))
    assert cropped(SampleSpecificAugment(900, noise=ALWAYS, crop={"min_ratio": 0.5})(sample([box])))
    # inside `transforms` the image grows fourfold, and afterwards the box is 3600 px^2; the rule was judged before
    bigger = SampleSpecificAugment(noise=ALWAYS, transforms=[{"type": "Resize", "scale_factor": 2.0}])
    results = bigger(sample([box]))
    assert noisy(results)
    assert results["img"].shape == (200, 240, 3)
    # the same after a Resize that somebody put in front
    resized = TRANSFORMS.build({"type": "Resize", "scale_factor": 2.0})(sample([box]))
    assert noisy(SampleSpecificAugment(noise=ALWAYS)(resized))


def test_window_sides_are_independent_uniform_and_at_least_min_ratio() -> None:
    np.random.seed(0)
    augment = SampleSpecificAugment(crop={"min_ratio": 0.6})
    results = [augment(sample([[0.0, 0.0, 240.0, 200.0]], size=(200, 240))) for _ in range(400)]
    ratios = np.array([(r["img"].shape[0] / 200, r["img"].shape[1] / 240) for r in results])
    assert 0.597 <= ratios.min() < 0.61
    assert 0.99 < ratios.max() <= 1
    assert ratios.mean(axis=0) == pytest.approx([0.8, 0.8], abs=0.02)
    assert abs(np.corrcoef(ratios.T)[0, 1]) < 0.12
    tops = np.array([r["img"][0, 0, 0] for r in results])
    slack = 200 - ratios[:, 0] * 200
    assert np.mean(tops[slack > 5] / slack[slack > 5]) == pytest.approx(0.5, abs=0.05)


def test_ratio_one_is_the_identity() -> None:
    results = SampleSpecificAugment(crop={"min_ratio": 1.0})(sample([LARGE]))
    assert np.array_equal(results["img"], sample([LARGE])["img"])
    assert results["gt_bboxes"].tensor.tolist() == [LARGE]


def test_boxes_masks_and_labels_follow_the_crop_and_stay_inside() -> None:
    np.random.seed(0)
    boxes: list[list[float]] = [LARGE, [0, 0, 9, 9], [100, 85, 120, 100], [30, 5, 50, 15]]
    masks = np.zeros((4, 100, 120), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, np.array(boxes, int), strict=True):
        mask[y1:y2, x1:x2] = 1
    dropped = 0
    for _ in range(50):
        augment = SampleSpecificAugment(crop={"min_ratio": 0.5})
        results = augment(sample(boxes, gt_masks=BitmapMasks(masks.copy(), 100, 120)))
        height, width = results["img_shape"]
        top, left = results["img"][0, 0, :2].astype(int)
        dropped += 4 - len(results["gt_bboxes"])
        assert results["img"].shape[:2] == (height, width) == results["gt_masks"].masks.shape[1:]
        for box, label, mask in zip(
            results["gt_bboxes"].tensor.numpy(), results["gt_bboxes_labels"], results["gt_masks"].masks, strict=True
        ):
            shifted = np.array(boxes[label]) - [left, top, left, top]
            assert box.tolist() == np.clip(shifted, 0, [width, height, width, height]).tolist()
            assert box[2] > box[0]
            assert mask.sum() == (box[2] - box[0]) * (box[3] - box[1])
    assert dropped > 10


def test_a_sample_left_without_boxes_is_skipped() -> None:
    np.random.seed(0)
    corner = sample([[0, 0, 8, 8]], gt_ignore_flags=np.array([False]))
    crowd = sample([[0, 0, 8, 8], [0, 0, 120, 100]], gt_ignore_flags=np.array([False, True]))
    augment = SampleSpecificAugment(10, crop={"min_ratio": 0.5})
    for start in (corner, crowd):
        results = [augment(copy.deepcopy(start)) for _ in range(60)]
        kept = [item for item in results if item is not None]
        assert 0 < len(kept) < 60
        assert all(not item["gt_ignore_flags"].all() for item in kept)


def test_same_seed_same_output_and_another_seed_another() -> None:
    augment = SampleSpecificAugment(noise=ALWAYS)
    images = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        images.append([augment(sample([SMALL]))["img"], augment(sample([LARGE]))["img"]])
    assert all(np.array_equal(a, b) for a, b in zip(images[0], images[1], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(images[0], images[2], strict=True))


def pair_augment(reader: Constant, **options: Any) -> SampleSpecificAugment:
    geometry = [
        {"type": "Resize", "scale": (120, 100)},
        AttachPerturbation(reader),
        {"type": "RandomFlip", "prob": 0.5},
    ]
    return SampleSpecificAugment(transforms=geometry, **options)


@pytest.mark.parametrize("published", [False, True])
def test_clean_and_adversarial_share_every_transform_unless_published(published: bool) -> None:
    np.random.seed(0)
    augment = pair_augment(Still((100, 120)), crop={"min_ratio": 0.5}, published=published)
    equal, flips = 0, 0
    for _ in range(30):
        results = augment(sample([LARGE]))
        clean, adversarial = results["img"][..., :3], results["img"][..., 3:]
        assert clean.shape == adversarial.shape
        equal += np.array_equal(clean, adversarial)
        flips += results["flip"]
        top, left = adversarial[0, 0, :2].astype(int)  # boxes follow the adversarial window
        x1, y1, x2, y2 = LARGE
        if results["flip"]:
            left, x1, x2 = 119 - left, 120 - x2, 120 - x1
        expected = np.array([x1 - left, y1 - top, x2 - left, y2 - top])
        height, width = results["img_shape"]
        assert results["gt_bboxes"].tensor[0].tolist() == np.clip(expected, 0, [width, height] * 2).tolist()
    assert 5 < flips < 25
    assert (equal == 30) if not published else (equal < 5)


def test_published_judges_noise_on_truncated_corners() -> None:
    box = [0.9, 0.9, 32.8, 32.8]  # 1017.6 px^2, and 1024 truncated
    np.random.seed(0)
    assert noisy(SampleSpecificAugment(noise=ALWAYS)(sample([box])))
    assert not noisy(SampleSpecificAugment(noise=ALWAYS, published=True)(sample([box])))


def test_the_adversarial_image_has_no_noise() -> None:
    np.random.seed(0)
    results = pair_augment(Constant(5, (100, 120)), noise=ALWAYS)(sample([SMALL]))
    clean, adversarial = results["img"][..., 2], results["img"][..., 5]
    assert np.ptp(clean) > 0
    assert set(adversarial.ravel()) == {133}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"area_threshold": 0}, r"augment: area_threshold: must be above 0 \(px\^2\), but got 0"),
        ({"area_threshold": float("nan")}, "area_threshold: must be above 0"),
        ({"noise": {"sigma": -0.1}}, r"noise\.sigma: must be 0 or more .*, but got -0\.1"),
        ({"noise": {"sigma": float("nan")}}, r"noise\.sigma: must be 0 or more"),
        ({"noise": {"probability": 1.1}}, r"noise\.probability: must be in 0\.\.1, but got 1\.1"),
        ({"noise": {"severity": 1}}, "augment: noise: takes probability, sigma, but got 'severity'"),
        ({"crop": {"min_ratio": 0}}, r"crop\.min_ratio: must be in \(0, 1\], but got 0"),
        ({"crop": {"min_ratio": 1.01}}, r"crop\.min_ratio: must be in \(0, 1\], but got 1\.01"),
        ({"enhancement": {"boxes": "", "theta": 0}}, r"enhancement\.theta: must be above 0 \(share of the image\)"),
        ({"enhancement": {"boxes": "", "min_score": 2}}, r"enhancement\.min_score: must be in 0\.\.1, but got 2"),
        ({"enhancement": {"score": 1}}, "enhancement: takes boxes, form, min_score, theta, but got 'score'"),
        ({"enhancement": {"boxes": "", "form": "both"}}, r"enhancement\.form: must be one of replaced, added, but got"),
        ({"crop": {"probability": -0.1}}, r"crop\.probability: must be in 0\.\.1"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        SampleSpecificAugment(**options)


def test_a_sample_without_annotations_is_refused() -> None:
    results = sample([])
    del results["gt_bboxes"]
    with pytest.raises(BadInput, match="put LoadAnnotations"):
        SampleSpecificAugment()(results)


def test_settings_are_shown() -> None:
    assert "noise=None" in repr(SampleSpecificAugment(noise=None))
