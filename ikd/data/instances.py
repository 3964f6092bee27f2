"""Which boxes of a data set may stand for their class: the instances that prototypes are chosen from."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ikd.config import Recipe, StagePlan
from ikd.data.files import training_annotations
from ikd.data.reader import CocoIndex, indexed
from ikd.errors import BadInput

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


class Looks(NamedTuple):
    """What each choice of prototypes looks at: boxes, images with them, and the images that an epoch trains on."""

    boxes: int
    images: int
    taught: int


def looks_of(recipe: Recipe) -> Looks | None:
    """Return what each choice of prototypes of a recipe looks at; None where its data are not there, or not fit."""
    section, file = recipe.distill.prototypes, training_annotations(recipe)
    if not file.is_file():
        return None
    try:
        return _looks(file, file.stat().st_mtime_ns, section.min_side, section.images_per_class, recipe.seed)
    except BadInput:  # told where the data are checked
        return None


@functools.lru_cache(maxsize=256)
def _looks(file: Path, _: int, min_side: float, images_per_class: int, seed: int) -> Looks:
    index = indexed(file)
    chosen = chosen_instances(index, min_side=min_side, images_per_class=images_per_class, seed=seed)
    taught = np.unique(index.owners[index.held & ~index.set_aside])
    return Looks(int(chosen.sum()), len(np.unique(index.owners[chosen])), len(taught))


def choices_in(plan: StagePlan, epoch: int) -> int:
    """Return how often prototypes are chosen in an epoch of a stage, counted from 1 over the whole training."""
    every, before = plan.recipe.distill.prototypes.every, epoch - plan.first
    return math.ceil((before + 1) / every) - math.ceil(before / every)


def said_of_prototypes(recipe: Recipe) -> str:
    """Return what a person is told of the cost of choosing prototypes; empty where there are none, or no data yet."""
    plans = [plan for plan in recipe.stages if plan.recipe.distill.prototypes.enabled and plan.teacher is not None]
    looks = looks_of(plans[0].recipe) if plans else None
    if looks is None:
        return ""
    times = sum(choices_in(plan, epoch) for plan in plans for epoch in range(plan.first, plan.last + 1))
    share = looks.images / max(1, looks.taught)
    return (
        f"chosen {times} times in a training from {looks.boxes} boxes in {looks.images} images ({share:.0%} of an "
        "epoch's): the student looks at them each time, the teacher once for all trainings"
    )
