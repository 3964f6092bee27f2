"""Data of a trial: reproducible samples, loaders, and the COCO evaluator."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.image import rescale_size
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import Compose

from ikd.augment import specific_arguments, test_pipeline, train_pipeline
from ikd.config import Recipe
from ikd.data import DataFiles, part_of
from ikd.detectors import head_row
from ikd.training import averaging as _shared  # noqa: F401, registers the samplers

Config = dict[str, Any]


@lru_cache(maxsize=32)
def typical_size(annotations: Path, scale: tuple[int, int], keep_ratio: bool, divisor: int) -> tuple[int, int]:
    """Return the median padded (height, width) of the resized training images, in pixels."""
    images = json.loads(annotations.read_text())["images"]
    heights, widths = [], []
    for image in images:
        width, height = rescale_size((image["width"], image["height"]), scale) if keep_ratio else scale
        heights.append(math.ceil(height / divisor) * divisor)
        widths.append(math.ceil(width / divisor) * divisor)
    return int(statistics.median_low(heights)), int(statistics.median_low(widths))


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
        "pipeline": train_pipeline(augment=specific_arguments(recipe, boxes), perturbations=reader, **shared),
        "plain_pipeline": train_pipeline(**shared),
        "seed": recipe.seed,
    }
    return _loader(recipe, dataset) | {
        "sampler": {"type": "OrderSampler", "seed": recipe.seed},
        "batch_sampler": {"type": "SharedBatchSampler"},
    }


def val_loader(recipe: Recipe, files: DataFiles, student: Any) -> Config:
    """Return the mmengine config of the validation loader."""
    bordered = head_row(getattr(student, "bbox_head", None)).reads_border
    pipeline = test_pipeline(scale=recipe.input.scale, keep_ratio=recipe.input.keep_ratio, bordered=bordered)
    dataset = part_of(files, "val") | {"type": "mmdet.CocoDataset", "test_mode": True, "pipeline": pipeline}
    # One image at a time, as mmdet validates: in a batch the padding, and so the metrics, depend on the neighbours.
    return _loader(recipe, dataset) | {"batch_size": 1, "sampler": {"type": "DefaultSampler", "shuffle": False}}


def _loader(recipe: Recipe, dataset: Config) -> Config:
    return {
        "dataset": dataset,
        "batch_size": recipe.schedule.batch_size,
        "num_workers": recipe.schedule.workers,
        "persistent_workers": False,  # workers must see the epoch and the phase
        "collate_fn": {"type": "pseudo_collate"},
    }
