"""Prototypes of a trial: which instances, their features in both detectors, and when they are chosen anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ikd.attack import TrainingImages, open_dataset
from ikd.config import Recipe
from ikd.data import DataFiles, indexed
from ikd.distill.detector import DistillDetector, Lesson, Side
from ikd.distill.functional import full_precision
from ikd.distill.prototypes import Prototypes, choose, hyperparameters, pooled
from ikd.evaluation import equal_sizes, read_ahead
from ikd.home import entry
from ikd.training.hooks.instances import features_name, instances_of, keep_features, kept_features

BATCH = 8
"""Images looked at at once; only those of one size share a batch, so that it changes no feature."""


class PrototypeHook(Hook):
    """Chooses the prototypes of a stage anew every `distill.prototypes.every` epochs, and sets the attenuation.

    Args:
        recipe: in force in the stage.
        files: data of the recipe.
        first: epochs before the stage.
        epochs: of the whole training, over which the losses fade.
        place: of the teacher among those of the stage.
    """

    def __init__(self, recipe: Recipe, files: DataFiles, *, first: int, epochs: int, place: int = 0) -> None:
        self._recipe, self._files, self._first, self._epochs = recipe, files, first, epochs
        self._section, self._place = recipe.distill.prototypes, place
        self._instances: _Instances | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Refresh where it is time, by the place in the stage alone, and while anything is distilled."""
        if not runner.model.distils:
            return
        if self._section.attenuate:
            runner.model.lessons[self._place].prototypes.attenuation = 1 - runner.epoch / self._epochs
        per_epoch = len(runner.train_dataloader)
        step = (runner.epoch - self._first) * per_epoch + batch_idx
        if step % max(1, round(self._section.every * per_epoch)) == 0:
            self._refresh(runner.model)

    def _refresh(self, model: DistillDetector) -> None:
        if self._instances is None:
            self._instances = _Instances(self._recipe, self._files)
        self._instances.refresh(model, model.lessons[self._place])


class _Instances:
    """The boxes that may become prototypes, and what the teacher makes of them, which stays."""

    def __init__(self, recipe: Recipe, files: DataFiles) -> None:
        index = indexed(files.train)
        self._recipe, self._files, self._chosen = recipe, files, instances_of(recipe, index)
        self._choice = replace(hyperparameters(recipe.distill.prototypes), seed=recipe.seed)
        self._classes, self._workers = len(index.classes), recipe.schedule.workers
        self._dataset = open_dataset(TrainingImages.of(recipe, files.train, files.train_images), with_masks=False)
        self._images = np.unique(index.owners[self._chosen]).tolist()
        self._place = {int(index.ids[image]): image for image in self._images}
        seen = index.held & ~index.set_aside  # as many, and in the order, as mmdet's samples have
        ranges = {image: slice(int(index.first[image]), int(index.first[image + 1])) for image in self._images}
        self._wanted = {image: torch.from_numpy(self._chosen[part][seen[part]]) for image, part in ranges.items()}
        self._theirs: list[Tensor] | None = None

    def refresh(self, model: DistillDetector, lesson: Lesson) -> None:
        """Choose the prototypes of a lesson by the student as it is now."""
        assert lesson.prototypes is not None
        with _undisturbed(model):
            if self._theirs is None:
                self._theirs = self._taught(model, lesson)
            ours, labels = self._features(model, lesson, "student")
        for level, (student, teacher) in enumerate(zip(ours, self._theirs, strict=True)):
            lesson.prototypes.hold(level, self._prototypes(teacher, student, labels))
        if get_world_size() > 1:  # devices may round differently
            for buffer in lesson.prototypes.buffers():
                broadcast(buffer)

    def _taught(self, model: DistillDetector, lesson: Lesson) -> list[Tensor]:
        """Return the teacher's features by level; of all trainings that need them one looks, the others find them."""
        levels = len(lesson.terms.teacher_levels)
        with entry("prototypes", features_name(self._recipe, self._files, lesson, self._chosen)) as folder:
            if (kept := kept_features(folder, levels)) is not None:
                return kept
            found, _ = self._features(model, lesson, "teacher")
            keep_features(folder, found)
        return kept_features(folder, levels) or found  # those on the disk take no memory

    def _prototypes(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Prototypes:
        found = []
        for label in range(self._classes):
            own = (labels == label).nonzero().flatten()
            found.append(own[choose(teacher[own], student[own], self._choice)])
        chosen = torch.cat(found)
        return Prototypes(teacher[chosen], student[chosen], labels[chosen])

    def _features(self, model: DistillDetector, lesson: Lesson, side: Side) -> tuple[list[Tensor], Tensor]:
        """Return one side's features of all instances by level, [n, d] each, and their classes [n]."""
        counts = [int(self._wanted[image].sum()) for image in self._images]
        places = dict(zip(self._images, np.cumsum([0, *counts]).tolist(), strict=False))  # of an image's first row
        classes, by_level = torch.empty(sum(counts), dtype=torch.long), list[Tensor]()
        samples = read_ahead(self._dataset, self._images, workers=self._workers)
        for batch in equal_sizes(samples, BATCH):
            maps, targets = lesson.look(model.data_preprocessor(pseudo_collate(batch), False), side)
            found = [pooled(full_precision(level), targets).cpu() for level in maps]
            by_level = by_level or [level.new_empty(len(classes), level.shape[1]) for level in found]  # filled in place
            first = 0
            for sample, labels in zip(batch, targets.labels, strict=True):
                image = self._place[sample["data_samples"].img_id]
                own, wanted = slice(first, first + len(labels)), self._wanted[image]
                rows = slice(places[image], places[image] + int(wanted.sum()))
                classes[rows] = labels.cpu()[wanted]
                for level, pooled_here in zip(by_level, found, strict=True):
                    level[rows] = pooled_here[own][wanted]
                first += len(labels)
        return by_level, classes


@contextmanager
def _undisturbed(model: DistillDetector) -> Iterator[None]:
    """Predict, then go on training as before: which parts train is the detector's own affair."""
    modes: dict[nn.Module, bool] = {module: module.training for module in model.student.modules()}
    model.student.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
