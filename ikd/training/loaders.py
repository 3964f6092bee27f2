"""Data of a trial: reproducible samples, loaders, and the COCO evaluator."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from mmcv.image import rescale_size
from mmdet.registry import DATASETS
from mmengine.dataset import Compose

from ikd.augment import MIXED, PARTNER, SCORED, TILES, specific_arguments, test_pipeline_of, train_pipeline
from ikd.config import Input, Recipe, StagePlan, alters_pixels, sees_unlabelled
from ikd.data import DataFiles, image_digest, indexed, part_of, trained_on
from ikd.data.reader.dataset import IndexedCocoDataset
from ikd.training import averaging as _shared  # noqa: F401, registers the samplers
from ikd.training.unlabelled import batches as _mixed  # noqa: F401, and another one
from ikd.training.unlabelled.images import UnlabelledImages
from ikd.training.unlabelled.reading import images_for_labels, labels_from

Config = dict[str, Any]


@lru_cache(maxsize=32)
def typical_size(annotations: Path, settings: Input, divisor: int) -> tuple[int, int]:
    """Return the median (height, width) of the training images, resized and padded, in pixels."""
    fixed = settings.pad.size if settings.pad.enabled else None if settings.keep_ratio else settings.scale
    index = indexed(annotations)
    loaded = zip(index.widths.tolist(), index.heights.tolist(), strict=True)
    sizes = [fixed] if fixed else [rescale_size(size, settings.scale) for size in loaded]
    padded = [[math.ceil(px / divisor) * divisor for px in size] for size in sizes]
    width, height = (int(statistics.median_low(sides)) for sides in zip(*padded, strict=True))
    return height, width


@DATASETS.register_module()
class SeededCocoDataset(IndexedCocoDataset):
    """CocoDataset whose random transforms depend on (seed, epoch, index) alone.

    So a sample is the same whatever else runs, however many loader processes there are, and after any restart.

    Args:
        later: pipelines that take the place of `pipeline`, each as (first epoch, 0-based, transforms), in order.
        seed: seed of the trial.
        partners: under which keys each sample is given how many entries of other images, drawn anew each time.
        unlabelled: arguments of `UnlabelledImages`, whose draws have the indices from the length of this data set on.
        fill: arguments of `labels_from`: boxes of a teacher that are added to the labels.
        soft: likewise, of boxes that go beside the labels, with their scores.
    """

    pipeline: Compose

    def __init__(
        self,
        *args: Any,
        later: Sequence[tuple[int, Sequence[Config]]] = (),
        seed: int,
        partners: Mapping[str, int] = MappingProxyType({}),
        unlabelled: Config | None = None,
        fill: Config | None = None,
        soft: Config | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._unlabelled = (
            UnlabelledImages(seed=seed, labelled=len(self), **unlabelled) if unlabelled is not None else None
        )
        self._fill, self._soft = (labels_from(**one) if one is not None else None for one in (fill, soft))
        self._phases = [(0, self.pipeline), *((first, Compose(transforms)) for first, transforms in later)]
        self._seed, self._epoch, self._partners = seed, 0, partners

    def start_epoch(self, epoch: int) -> None:
        """Set the epoch (0-based), and with it the pipeline; loaders must be restarted after it."""
        self._epoch = epoch
        self.pipeline = [pipeline for first, pipeline in self._phases if first <= epoch][-1]
        if self._unlabelled is not None:
            self._unlabelled.start_epoch(epoch)

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one entry."""
        entry = self.get_data_info(idx)
        if self._fill is not None:
            entry["instances"] += self._fill.beside(image_digest(entry["img_path"]), entry["instances"])
        if self._soft is not None:
            entry[SCORED] = self._soft.scored(image_digest(entry["img_path"]))
        for key, count in self._partners.items():
            drawn = [self.get_data_info(int(np.random.randint(len(self)))) for _ in range(count)]
            entry[key] = drawn if key != PARTNER else drawn[0]
        return self.pipeline(entry)

    def __getitem__(self, index: int) -> Any:
        entropy = np.random.SeedSequence([self._seed, self._epoch, index])
        low, high = (int(word) for word in entropy.generate_state(2))
        np.random.seed(low)
        random.seed(high)
        if self._unlabelled is not None and index >= len(self):
            return self._unlabelled.sample(index - len(self))
        return super().__getitem__(index)


def crafts_online(recipe: Recipe) -> bool:
    """Whether a stage crafts its adversarial copies while training."""
    return recipe.adversarial.enabled and recipe.attack.store == "online"


@dataclass(frozen=True)
class Phase:
    """Epochs of a stage with one pipeline.

    Attributes:
        first: epoch, 0-based, counted from the start of the training.
        alters: noise and crop act, by IKD's rule or by masking enhancement's.
        attacks: adversarial copies come along.
        mixes: mosaic and mixup act.
    """

    first: int
    alters: bool
    attacks: bool
    mixes: bool = False


def phases(plan: StagePlan) -> list[Phase]:
    """Return the phases of a stage in order; the first begins with it.

    `augment.stop_fraction` ends IKD's noise and crop and the adversarial copies, `distill.me.stop_fraction` masking
    enhancement, in whose stages IKD's rule has no part, and `input.stop_fraction` mosaic and mixup. Copies and
    enhancement end where `distill.stop_fraction` ends all distillation, too.
    """
    first, augment, me = plan.first - 1, plan.recipe.augment, plan.recipe.distill.me
    settings = plan.recipe.input
    mixed = first + round(settings.stop_fraction * plan.epochs) if settings.mixes else first
    specific = first + round(augment.stop_fraction * plan.epochs)
    enhanced = min(first + round(me.stop_fraction * plan.epochs), plan.taught_until)
    attacked, altered = min(specific, plan.taught_until), enhanced if me.enabled else specific
    starts = {first, *(end for end in (attacked, altered, mixed) if first < end < plan.last)}
    return [
        Phase(start, alters=start < altered, attacks=start < attacked, mixes=start < mixed) for start in sorted(starts)
    ]


def train_loader(
    plan: StagePlan,
    files: DataFiles,
    *,
    perturbations: Path | None,
    beside: Sequence[Path] = (),
    boxes: Path | None,
    with_masks: bool,
    labels: Path | None = None,
) -> Config:
    """Return the mmengine config of the training loader of one stage, all its phases included.

    Args:
        plan: the stage.
        files: data of the recipe.
        perturbations: folder of the store; None without the adversarial term, or where its copies are crafted online.
        beside: folders of those against other teachers that teach at once.
        boxes: what drives masking enhancement; None without it.
        with_masks: load instance masks too.
        labels: folder of the teacher's labels; None without them.
    """
    recipe = plan.recipe
    shared: Config = {
        "scale": recipe.input.scale,
        "keep_ratio": recipe.input.keep_ratio,
        "flip": recipe.input.flip,
        "order": recipe.input.order,
        "with_masks": with_masks,
        "settings": recipe.input,
        "keep_empty": recipe.data.keep_empty,
        "orientation": recipe.data.orientation,
    }
    readers = [
        {"type": "ikd.attack.PerturbationStore.open", "folder": str(one)} for one in (perturbations, *beside) if one
    ]
    planned = phases(plan)
    pipelines = [
        train_pipeline(
            augment=specific_arguments(recipe, boxes) if phase.alters else None,
            perturbations=readers[0] if readers and phase.attacks else None,
            beside=readers[1:],
            crafted_later=phase.attacks and crafts_online(recipe),
            mixes=phase.mixes,
            with_reference=bool(recipe.distill.confidence) and _alters(recipe, phase),
            **shared,
        )
        for phase in planned
    ]
    dataset = part_of(files, "train") | {
        "type": "SeededCocoDataset",
        "filter_cfg": trained_on(recipe),
        "pipeline": pipelines[0],
        "later": [(phase.first, one) for phase, one in zip(planned[1:], pipelines[1:], strict=True)],
        "seed": recipe.seed,
        "partners": _partners(recipe),
    }
    loader = _loader(recipe, dataset) | {
        "sampler": {"type": "OrderSampler", "seed": recipe.seed},
        "batch_sampler": {"type": "SharedBatchSampler"},
    }
    return loader if labels is None else _with_labels(loader, plan, files, labels, shared)


def _with_labels(loader: Config, plan: StagePlan, files: DataFiles, labels: Path, shared: Config) -> Config:
    """Return a training loader that shows the teacher's labels too.

    Photographs without labels go through the pipelines of labelled images, but for what needs more than the image and
    its boxes: adversarial copies, masking enhancement, objects of other images.
    """
    recipe, section = plan.recipe, plan.recipe.distill.labels
    dataset = dict(loader["dataset"])
    read: Config = {"folder": str(labels), "classes": files.classes}
    read |= {"images": list(images_for_labels(recipe, replace(files, photographs=None)))}
    if section.labelled == "fill":
        dataset["fill"] = read | {"threshold": section.threshold_fill}
    if section.form != "hard":
        dataset["soft"] = read | {"threshold": section.soft.tau}
    if files.photographs is None or not sees_unlabelled(recipe):
        return loader | {"dataset": dataset}
    bare = recipe.input.copy_paste.model_copy(update={"enabled": False})
    plain = shared | {"mixes": False, "settings": recipe.input.model_copy(update={"copy_paste": bare})}
    alone = recipe.with_values({"distill.me.enabled": False})
    dataset["unlabelled"] = {
        "photographs": files.photographs,
        "labels": str(labels),
        "classes": files.classes,
        "pipelines": [
            (one.first, train_pipeline(augment=specific_arguments(alone, None) if one.alters else None, **plain))
            for one in phases(plan)
        ],
        "threshold": section.threshold,
        "ignore": section.ignore,
        "ratio": section.ratio,
        "soft": None if section.form == "hard" else section.soft.tau,
    }
    return loader | {
        "dataset": dataset,
        "batch_sampler": {"type": "MixedBatchSampler", "ratio": section.ratio},
        "collate_fn": {"type": "collate_parts"},
    }


def _partners(recipe: Recipe) -> dict[str, int]:
    """Return under which keys of a sample other images' entries are wanted, and how many."""
    settings = recipe.input
    wanted = {PARTNER: settings.copy_paste.enabled, TILES: 3 * settings.mosaic.enabled, MIXED: settings.mixup.enabled}
    return {key: int(count) for key, count in wanted.items() if count}


def _alters(recipe: Recipe, phase: Phase) -> bool:
    """Tell whether pixels of images may be altered in a phase: noise ends with it, joint augmentation does not."""
    return recipe.input.joint.acts or (phase.alters and alters_pixels(recipe))


def val_loader(recipe: Recipe, files: DataFiles, student: Any) -> Config:
    """Return the mmengine config of the validation loader."""
    pipeline = test_pipeline_of(recipe, getattr(student, "bbox_head", None))
    dataset = part_of(files, "val") | {"type": "IndexedCocoDataset", "test_mode": True, "pipeline": pipeline}
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
