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
from numpy.typing import NDArray
from torch import Tensor, nn

from ikd.attack import TrainingImages, open_dataset
from ikd.config import Recipe
from ikd.data import CocoIndex, DataFiles, indexed
from ikd.distill.detector import DistillDetector
from ikd.distill.functional import full_precision
from ikd.distill.prototypes import Prototypes, choose, hyperparameters, pooled
from ikd.errors import refuse
from ikd.evaluation import equal_sizes, read_ahead

BATCH = 8
"""Images looked at at once; only those of one size share a batch, so that it changes no feature."""
_WORD = 0x6B


def chosen_instances(index: CocoIndex, *, min_side: float, images_per_class: int, seed: int) -> NDArray[np.bool_]:
    """Return which annotations [A] may become prototypes: a class's boxes in some of the images that hold one.

    Args:
        index: of the training part.
        min_side: boxes must be wider and higher than this, px of the original image.
        images_per_class: largest number of images of a class; which ones is drawn.
        seed: of the draw.
    """
    boxes, labels = np.asarray(index.boxes), np.asarray(index.labels)
    fit = index.held & ~index.set_aside & (boxes[:, 2] > min_side) & (boxes[:, 3] > min_side)
    chosen = np.zeros(len(labels), dtype=bool)
    for label in range(len(index.classes)):
        own = fit & (labels == label)
        images = np.unique(index.owners[own])
        if len(images) > images_per_class:
            random = np.random.default_rng(np.random.SeedSequence([seed, _WORD, label]))
            images = random.choice(images, images_per_class, replace=False)
        chosen |= own & np.isin(index.owners, images)
    return chosen


class PrototypeHook(Hook):
    """Chooses the prototypes of a stage anew every `distill.prototypes.every` epochs, and sets the attenuation.

    Args:
        recipe: in force in the stage.
        files: data of the recipe.
        first: epochs before the stage.
        epochs: of the whole training, over which the losses fade.
    """

    def __init__(self, recipe: Recipe, files: DataFiles, *, first: int, epochs: int) -> None:
        self._recipe, self._files, self._first, self._epochs = recipe, files, first, epochs
        self._section = recipe.distill.prototypes
        self._instances: _Instances | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Refresh where it is time, by the place in the stage alone."""
        if self._section.attenuate:
            runner.model.prototypes.attenuation = 1 - runner.epoch / self._epochs
        per_epoch = len(runner.train_dataloader)
        step = (runner.epoch - self._first) * per_epoch + batch_idx
        if step % max(1, round(self._section.every * per_epoch)) == 0:
            self._refresh(runner.model)

    def _refresh(self, model: DistillDetector) -> None:
        if self._instances is None:
            self._instances = _Instances(self._recipe, self._files)
        self._instances.refresh(model)


class _Instances:
    """The boxes that may become prototypes, and what the teacher makes of them, which stays."""

    def __init__(self, recipe: Recipe, files: DataFiles) -> None:
        section, index = recipe.distill.prototypes, indexed(files.train)
        chosen = chosen_instances(
            index, min_side=section.min_side, images_per_class=section.images_per_class, seed=recipe.seed
        )
        if not chosen.any():
            rule = (
                "must leave boxes for prototypes: no training box is wider and higher than it, px of the original image"
            )
            refuse("distill.prototypes.min_side", rule, section.min_side)
        self._choice = replace(hyperparameters(section), seed=recipe.seed)
        self._classes, self._workers = len(index.classes), recipe.schedule.workers
        self._dataset = open_dataset(TrainingImages.of(recipe, files.train, files.train_images), with_masks=False)
        self._images = np.unique(index.owners[chosen]).tolist()
        self._place = {int(index.ids[image]): image for image in self._images}
        seen = index.held & ~index.set_aside  # as many, and in the order, as mmdet's samples have
        ranges = {image: slice(int(index.first[image]), int(index.first[image + 1])) for image in self._images}
        self._wanted = {image: torch.from_numpy(chosen[part][seen[part]]) for image, part in ranges.items()}
        self._theirs: list[Tensor] | None = None

    def refresh(self, model: DistillDetector) -> None:
        """Choose prototypes by the student as it is now."""
        with _undisturbed(model):
            ours, theirs, labels = self._features(model)
        if self._theirs is None:
            self._theirs = theirs
        assert model.prototypes is not None
        for level, (student, teacher) in enumerate(zip(ours, self._theirs, strict=True)):
            model.prototypes.hold(level, self._prototypes(teacher, student, labels))
        if get_world_size() > 1:  # devices may round differently
            for buffer in model.prototypes.buffers():
                broadcast(buffer)

    def _prototypes(self, teacher: Tensor, student: Tensor, labels: Tensor) -> Prototypes:
        found = []
        for label in range(self._classes):
            own = (labels == label).nonzero().flatten()
            found.append(own[choose(teacher[own], student[own], self._choice)])
        chosen = torch.cat(found)
        return Prototypes(teacher[chosen], student[chosen], labels[chosen])

    def _features(self, model: DistillDetector) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return features of all instances by level, the student's and the teacher's, and their classes.

        The teacher's are empty where they are known already.
        """
        found: dict[int, tuple[list[Tensor], list[Tensor], Tensor]] = {}
        samples = read_ahead(self._dataset, self._images, workers=self._workers)
        for batch in equal_sizes(samples, BATCH):
            data = model.data_preprocessor(pseudo_collate(batch), False)
            ours, theirs, targets = model.look(data, with_teacher=self._theirs is None)
            sides = [[pooled(full_precision(level), targets).cpu() for level in side] for side in (ours, theirs)]
            first = 0
            for sample, labels in zip(batch, targets.labels, strict=True):
                image = self._place[sample["data_samples"].img_id]
                rows, wanted = slice(first, first + len(labels)), self._wanted[image]
                student, teacher = ([level[rows][wanted] for level in side] for side in sides)
                found[image] = (student, teacher, labels.cpu()[wanted])
                first += len(labels)
        ordered = [found[image] for image in self._images]
        by_level = [
            [torch.cat(level) for level in zip(*(one[side] for one in ordered), strict=True)] for side in (0, 1)
        ]
        return by_level[0], by_level[1], torch.cat([one[2] for one in ordered])


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
