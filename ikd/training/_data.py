"""Data of a trial: reproducible samples, loaders, and the COCO evaluator."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.image import rescale_size
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import Compose
from mmengine.evaluator import BaseMetric

from ikd.augment import test_pipeline, train_pipeline
from ikd.config import DRAWN, Recipe
from ikd.data import categories, coco_metrics, drawn_dataset, fingerprint
from ikd.errors import BadInput
from ikd.training import _shared  # noqa: F401, registers the samplers

Config = dict[str, Any]


@dataclass(frozen=True)
class DataFiles:
    """Where the data of a recipe lies."""

    train: Path
    train_images: Path
    val: Path
    val_images: Path
    classes: tuple[str, ...]

    @classmethod
    def of(cls, recipe: Recipe) -> DataFiles:
        """Find the files of a recipe; the drawn data set is drawn when it is not there yet.

        Raises:
            BadInput: a file is missing, or the two parts name different classes.
        """
        root = drawn_dataset() if recipe.data.root == DRAWN else Path(recipe.data.root)
        places = {}
        for part in ("train", "val"):
            split = getattr(recipe.data, part)
            for key in ("annotations", "images"):
                path = root / getattr(split, key)
                if not (path.is_file() if key == "annotations" else path.is_dir()):
                    kind = "a COCO json file" if key == "annotations" else "a folder of images"
                    raise BadInput(f"recipe {recipe.name}: data.{part}.{key}: must be {kind}, but {path} is not there")
                places[part, key] = path
        classes, other = (categories(places[part, "annotations"]) for part in ("train", "val"))
        if classes != other:
            raise BadInput(
                f"{places['val', 'annotations']}: categories: must be those of the training part, "
                f"{list(classes)} in this order, but got {list(other)}"
            )
        train, train_images, val, val_images = places.values()
        return cls(train, train_images, val, val_images, classes)

    def fingerprint(self) -> str:
        """Return one hash of the content of both parts."""
        return _fingerprint(self, _stamp(self))


def _stamp(files: DataFiles) -> tuple[int, ...]:
    paths = (files.train, files.val, files.train_images, files.val_images)
    return tuple(path.stat().st_mtime_ns for path in paths)


@lru_cache(maxsize=8)
def _fingerprint(files: DataFiles, stamp: tuple[int, ...]) -> str:
    parts = (fingerprint(files.train, files.train_images), fingerprint(files.val, files.val_images))
    return parts[0] if parts[0] == parts[1] else "-".join(part[:32] for part in parts)


@lru_cache(maxsize=32)
def typical_size(annotations: Path, scale: tuple[int, int], keep_ratio: bool, divisor: int) -> tuple[int, int]:
    """Return the median padded (height, width) of the resized training images, in pixels."""
    images = json.loads(annotations.read_text())["images"]
    sizes = [_padded(image, scale, keep_ratio, divisor) for image in images]
    return (
        int(statistics.median_low([size[0] for size in sizes])),
        int(statistics.median_low([size[1] for size in sizes])),
    )


def _padded(image: Mapping[str, Any], scale: tuple[int, int], keep_ratio: bool, divisor: int) -> tuple[int, int]:
    width, height = rescale_size((image["width"], image["height"]), scale) if keep_ratio else scale
    return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor


@DATASETS.register_module()
class SeededCocoDataset(CocoDataset):
    """CocoDataset whose random transforms depend on (seed, epoch, index) alone.

    So a sample is the same whatever else runs, however many loader processes there are, and after any restart.

    Args:
        plain_pipeline: pipeline of the epochs after the augmentation has stopped.
        seed: seed of the trial.
    """

    pipeline: Compose

    def __init__(self, *args: Any, plain_pipeline: Sequence[Config], seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phases = {True: self.pipeline, False: Compose(plain_pipeline)}
        self._seed, self._epoch = seed, 0

    def start_epoch(self, epoch: int, *, augmenting: bool) -> None:
        """Set the epoch (0-based) and its phase; loaders must be restarted after it."""
        self._epoch = epoch
        self.pipeline = self._phases[augmenting]

    def __getitem__(self, index: int) -> Any:
        entropy = np.random.SeedSequence([self._seed, self._epoch, index])
        low, high = (int(word) for word in entropy.generate_state(2))
        np.random.seed(low)
        random.seed(high)
        return super().__getitem__(index)


def train_loader(
    recipe: Recipe, files: DataFiles, *, perturbations: Path | None, boxes: Path | None, with_masks: bool
) -> Config:
    """Return the mmengine config of the training loader of one stage, both phases included."""
    shared: Config = {
        "scale": recipe.input.scale,
        "keep_ratio": recipe.input.keep_ratio,
        "flip": recipe.input.flip,
        "order": recipe.input.order,
        "with_masks": with_masks,
    }
    reader = {"type": "ikd.attack.PerturbationStore.open", "folder": str(perturbations)} if perturbations else None
    dataset = part_of(files, "train") | {
        "type": "SeededCocoDataset",
        "filter_cfg": {"filter_empty_gt": True, "min_size": 1},
        "pipeline": train_pipeline(augment=_augment_arguments(recipe, boxes), perturbations=reader, **shared),
        "plain_pipeline": train_pipeline(**shared),
        "seed": recipe.seed,
    }
    return _loader(recipe, dataset) | {
        "sampler": {"type": "OrderSampler", "seed": recipe.seed},
        "batch_sampler": {"type": "SharedBatchSampler"},
    }


def val_loader(recipe: Recipe, files: DataFiles) -> Config:
    """Return the mmengine config of the validation loader."""
    pipeline = test_pipeline(scale=recipe.input.scale, keep_ratio=recipe.input.keep_ratio)
    dataset = part_of(files, "val") | {"type": "mmdet.CocoDataset", "test_mode": True, "pipeline": pipeline}
    # One image at a time, as mmdet validates: in a batch the padding, and so the metrics, depend on the neighbours.
    return _loader(recipe, dataset) | {"batch_size": 1, "sampler": {"type": "DefaultSampler", "shuffle": False}}


def part_of(files: DataFiles, part: str) -> Config:
    """Return what mmdet's CocoDataset needs to find `train` or `val`."""
    return {
        "ann_file": str(getattr(files, part)),
        "data_prefix": {"img": str(getattr(files, f"{part}_images"))},
        "metainfo": {"classes": files.classes},
    }


def _loader(recipe: Recipe, dataset: Config) -> Config:
    return {
        "dataset": dataset,
        "batch_size": recipe.schedule.batch_size,
        "num_workers": recipe.schedule.workers,
        "persistent_workers": False,  # workers must see the epoch and the phase
        "collate_fn": {"type": "pseudo_collate"},
    }


def _augment_arguments(recipe: Recipe, boxes: Path | None) -> Config | None:
    augment, me = recipe.augment, recipe.distill.me
    if not (augment.enabled or me.enabled):
        return None
    noise = {"sigma": augment.noise.sigma, "probability": augment.noise.probability}
    crop = {"min_ratio": augment.crop.min_ratio, "probability": augment.crop.probability}
    return {
        "area_threshold": augment.area_threshold,
        "noise": noise if augment.noise.enabled else None,
        "crop": crop if augment.crop.enabled else None,
        "published": augment.published,
        "enhancement": {"boxes": str(boxes), "theta": me.theta, "min_score": me.min_score} if me.enabled else None,
    }


class CocoEvaluator(BaseMetric):
    """COCO metrics of boxes by pycocotools, unrounded, under ikd's names.

    Args:
        annotations: COCO json of the evaluated part.
        parts: folder in which several processes bring their predictions together.
    """

    default_prefix = None

    def __init__(self, annotations: Path, parts: Path | None = None) -> None:
        super().__init__(collect_dir=str(parts) if parts else None)
        self._annotations = annotations

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the predictions of one batch."""
        for sample in data_samples:
            found = sample["pred_instances"]
            boxes = found["bboxes"].detach().cpu().double()
            boxes[:, 2:] -= boxes[:, :2]  # corners -> x, y, width, height
            columns = zip(boxes.tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
            self.results.append((int(sample["img_id"]), list(columns)))  # one entry an image: mmengine counts them

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return bbox_mAP, bbox_AP50, ... of everything processed."""
        category_ids = [entry["id"] for entry in json.loads(self._annotations.read_text())["categories"]]
        detections = [
            {"image_id": image, "bbox": box, "score": score, "category_id": category_ids[label]}
            for image, found in results
            for box, score, label in found
        ]
        return coco_metrics(self._annotations, detections)
