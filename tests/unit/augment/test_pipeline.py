from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.dataset import pseudo_collate

from ikd import augment
from ikd.data import categories
from ikd.errors import BadInput
from tests.unit.augment.samples import Constant, Still

pytestmark = pytest.mark.usefixtures("mmdet_scope")
SCALE = (160, 160)
ALWAYS = {"noise": {"probability": 1.0}, "crop": {"min_ratio": 0.7}}


def dataset(directory: Path, pipeline: list[dict[str, Any]], **options: Any) -> CocoDataset:
    return CocoDataset(
        ann_file="train.json",
        data_root=str(directory),
        data_prefix={"img": "images/"},
        metainfo={"classes": categories(directory / "train.json")},
        pipeline=pipeline,
        **options,
    )


def original(directory: Path, index: int) -> np.ndarray[Any, Any]:
    image = cv2.imread(str(directory / "images" / f"train_{index:05d}.png"))
    assert image is not None
    return image.transpose(2, 0, 1)


def test_plain_phase_gives_images_as_they_are(drawn: Path) -> None:
    items = dataset(drawn, augment.train_pipeline(scale=SCALE, flip=0.0))
    assert len(items) == 20
    for index in (0, 5, 9):
        sample = items[index]
        assert sorted(sample) == ["data_samples", "inputs"]
        assert np.array_equal(sample["inputs"].numpy(), original(drawn, index))


def test_augmented_phase_corrupts_small_and_crops_others(drawn: Path) -> None:
    items = dataset(drawn, augment.train_pipeline(scale=SCALE, flip=0.0, augment=ALWAYS))
    np.random.seed(0)
    for index in range(10):
        sample = items[index]
        if index in (0, 4, 7, 9):  # small objects only, or none
            noise = sample["inputs"].numpy().astype(float) - original(drawn, index)
            assert noise.std() == pytest.approx(20.4, rel=0.1)
        else:
            height, width = sample["inputs"].shape[1:]
            assert height * width < 160 * 160
            boxes = sample["data_samples"].gt_instances.bboxes.tensor
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, 2] <= width).all()
            assert (boxes[:, 3] <= height).all()


@pytest.mark.parametrize("order", ["flip_crop", "crop_flip"])
def test_the_pair_stays_in_step_in_both_orders(drawn: Path, order: Any) -> None:
    pipeline = augment.train_pipeline(scale=SCALE, order=order, augment=ALWAYS, perturbations=Still())
    items = dataset(drawn, pipeline)
    np.random.seed(0)
    batch = pseudo_collate([items[index] for index in range(20)])
    equal = [bool((a == b).all()) for a, b in zip(batch["inputs"], batch["adversarial"], strict=True)]
    assert equal == [index % 10 not in (0, 4, 7, 9) for index in range(20)]  # noise is in the clean image alone
    flips = sum(sample.flip for sample in batch["data_samples"])
    assert 3 < flips < 17
    for sample in batch["data_samples"]:
        height, width = sample.img_shape
        assert (sample.gt_instances.bboxes.tensor[:, 2:].numpy() <= np.array([width, height])).all()


def test_order_acts(drawn: Path) -> None:
    orders = [
        [item["type"] for item in augment.train_pipeline(scale=SCALE, order=order, augment={})]
        for order in ("flip_crop", "crop_flip")
    ]
    assert orders[0] == ["LoadImageFromFile", "LoadAnnotations", "SampleSpecificAugment", "PackPair"]
    assert orders[1] == ["LoadImageFromFile", "LoadAnnotations", "SampleSpecificAugment", "RandomFlip", "PackPair"]
    images = []
    for order in ("flip_crop", "crop_flip"):
        pipeline = augment.train_pipeline(scale=SCALE, flip=1.0, order=order, augment=ALWAYS)
        np.random.seed(0)
        images.append(dataset(drawn, pipeline)[1]["inputs"].numpy())
    assert images[0].shape != images[1].shape or not np.array_equal(*images)


def test_adversarial_images_need_no_augmentation(drawn: Path) -> None:
    sample = dataset(drawn, augment.train_pipeline(scale=SCALE, flip=1.0, perturbations=Constant(5)))[2]
    difference = sample["adversarial"].int() - sample["inputs"].int()
    assert difference.float().mean() == pytest.approx(5, abs=0.1)
    assert sample["data_samples"].flip


def test_scale_ratio_and_flip_act(drawn: Path) -> None:
    wide = augment.train_pipeline(scale=(96, 64), keep_ratio=False, flip=0.0)
    assert dataset(drawn, wide)[0]["inputs"].shape == (3, 64, 96)
    kept = augment.train_pipeline(scale=(96, 64), flip=1.0)
    sample = dataset(drawn, kept)[0]
    assert sample["inputs"].shape == (3, 64, 64)
    assert sample["data_samples"].flip


@pytest.mark.parametrize("crop", [None, {"min_ratio": 0.7}])
def test_masks_follow(drawn: Path, crop: dict[str, float] | None) -> None:
    pipeline = augment.train_pipeline(scale=SCALE, flip=1.0, augment={"crop": crop}, with_masks=True)
    np.random.seed(0)
    gt = dataset(drawn, pipeline)[3]["data_samples"].gt_instances
    assert len(gt.masks) == len(gt.bboxes) > 0
    for mask, box in zip(gt.masks.masks, gt.bboxes.tensor.numpy(), strict=True):
        rows, columns = np.nonzero(mask)
        tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        if crop is None:
            assert tight == pytest.approx(box, abs=2)
        else:  # the clipped box of a cut triangle is wider than what is left of it
            assert (tight[:2] >= box[:2] - 2).all()
            assert (tight[2:] <= box[2:] + 2).all()


def test_a_run_is_repeated_by_its_seed_also_from_a_copy_for_a_worker(drawn: Path) -> None:
    items = dataset(drawn, augment.train_pipeline(scale=SCALE, augment=ALWAYS, perturbations=Constant(3)))
    copied = pickle.loads(pickle.dumps(items))
    for index in range(6):
        samples = []
        for source in (items, copied):
            np.random.seed(index)
            samples.append(source[index])
        for key in ("inputs", "adversarial"):
            assert np.array_equal(samples[0][key].numpy(), samples[1][key].numpy())


def test_a_text_only_pipeline_survives_json(drawn: Path) -> None:
    reader = {"type": f"{Constant.__module__}.Constant", "value": 4}
    pipeline = augment.train_pipeline(scale=SCALE, flip=0.0, augment=ALWAYS, perturbations=reader)
    loaded = json.loads(json.dumps(pipeline))
    for step in loaded[2]["transforms"]:
        if step["type"] == "Resize":
            step["scale"] = tuple(step["scale"])
    sample = dataset(drawn, loaded)[9]
    assert np.array_equal(sample["adversarial"].numpy(), np.minimum(original(drawn, 9).astype(int) + 4, 255))


def test_validation_only_resizes(drawn: Path) -> None:
    pipeline = augment.test_pipeline(scale=(320, 320))
    sample = dataset(drawn, pipeline, test_mode=True)[0]
    assert sample["inputs"].shape == (3, 320, 320)
    assert sample["data_samples"].scale_factor == (2.0, 2.0)
    assert sample["data_samples"].ori_shape == (160, 160)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (160,)}, r"augment: scale: must be two whole numbers of pixels, 1 or more, but got \(160,\)"),
        ({"scale": (160, 0)}, "scale: must be two"),
        ({"flip": 1.5}, r"augment: flip: must be in 0\.\.1, but got 1\.5"),
        ({"order": "crop"}, "augment: order: must be one of flip_crop, crop_flip, but got 'crop'"),
        ({"augment": {"noise": {"sigma": -1}}}, r"noise\.sigma: must be 0 or more"),
        (
            {"augment": {"sigma": 1}},
            "augment: takes area_threshold, crop, enhancement, noise, published, but got 'sigma'",
        ),
        ({"perturbations": 3}, r"must have a method read\(image_id\), but got 3"),
    ],
)
def test_bad_arguments_are_refused_before_any_data(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        augment.train_pipeline(**{"scale": SCALE, **options})
    if "scale" in options:
        with pytest.raises(BadInput, match=message):
            augment.test_pipeline(**options)
