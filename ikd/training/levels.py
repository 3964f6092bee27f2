"""Which levels of a pair are distilled, and what their number does to weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.image import rescale_size
from torch import Tensor

from ikd.config import Recipe
from ikd.data import DataFiles, indexed
from ikd.detectors import Level, SharedLevels, reached_levels, shared_levels
from ikd.errors import BadInput, refuse

ZOOM = 1.25
"""How much larger the published crop, of four fifths of each side, makes a box."""


@dataclass(frozen=True)
class Levels:
    """The levels of a pair that are distilled, finest first.

    Attributes:
        positions: their places among the levels that the pair shares, 0 the finest: what `distill.levels` lists.
        student: their indices among the student's levels.
        teacher: those among the teacher's.
        strides: where their maps are compared, in input pixels.
        shared: all that the pair shares.
        said: what a person is told of a choice that was made for them; empty where there is nothing to tell.
    """

    positions: tuple[int, ...]
    student: tuple[int, ...]
    teacher: tuple[int, ...]
    strides: tuple[int, ...]
    shared: SharedLevels
    said: str = ""

    @property
    def of_student(self) -> list[Level]:
        """What the student's levels are."""
        return [self.shared.ours[level] for level in self.student]

    @property
    def of_teacher(self) -> list[Level]:
        """What the teacher's levels are."""
        return [self.shared.theirs[level] for level in self.teacher]

    def of(self, places: Sequence[int]) -> tuple[int, ...]:
        """Return where levels that are listed as `distill.levels` lists them stand among these; others drop out."""
        return tuple(self.positions.index(place) for place in places if place in self.positions)


def choose_levels(recipe: Recipe, files: DataFiles, student: Any, teacher: Any) -> Levels:
    """Choose the levels of a stage.

    Raises:
        BadInput: student and teacher cannot be paired so, or do not share a level that is listed.
    """
    distill = recipe.distill
    try:
        shared = shared_levels(student, teacher, distill.match, (distill.taps.student, distill.taps.teacher))
    except BadInput as error:
        raise BadInput(f"recipe {recipe.name}: {error}") from error
    if isinstance(distill.levels, str):
        chosen, said = _all(recipe, shared), ""
        if distill.levels == "auto":
            chosen, said = _reached(recipe, files, shared, student)
    else:
        chosen, said = distill.levels, ""
    _refuse_missing(recipe, "distill.levels", chosen, shared)
    sides = [tuple(side[place] for place in chosen) for side in (shared.student, shared.teacher, shared.strides)]
    return Levels(chosen, sides[0], sides[1], sides[2], shared, said)


def aligned_levels(recipe: Recipe, levels: Levels) -> tuple[int, ...]:
    """Return the levels of SFA, by their places among those that are distilled.

    Raises:
        BadInput: the pair does not share one that is listed, or none of them is distilled.
    """
    sfa = recipe.distill.sfa
    if not sfa.enabled:
        return ()
    _refuse_missing(recipe, "distill.sfa.levels", sfa.levels, levels.shared)
    if not (found := levels.of(sfa.levels)):
        rule = f"must hold one of the levels that are distilled, {_named(levels.positions, levels.shared.strides)}"
        refuse(f"recipe {recipe.name}: distill.sfa.levels", rule, list(sfa.levels), "distill.levels: all distils all")
    return found


def _all(recipe: Recipe, shared: SharedLevels) -> tuple[int, ...]:
    """Return every level; by index only where both detectors have as many."""
    ours, theirs = shared.student_strides, shared.teacher_strides
    if recipe.distill.match == "index" and len(ours) != len(theirs) and recipe.distill.levels == "all":
        rule = f"must list levels where match is index and the student has {len(ours)} levels and the teacher"
        hint = f"the levels that both have are {list(range(len(shared.student)))}"
        refuse(f"recipe {recipe.name}: distill.levels", f"{rule} {len(theirs)}", recipe.distill.levels, hint)
    return tuple(range(len(shared.student)))


def _reached(recipe: Recipe, files: DataFiles, shared: SharedLevels, student: Any) -> tuple[tuple[int, ...], str]:
    """Return the levels that a training box reaches in the student, and what to say where some are left out."""
    every = tuple(range(len(shared.student)))
    boxes = box_sizes(files.train, files.train.stat().st_mtime_ns, recipe.input.scale, recipe.input.keep_ratio)
    largest = max(recipe.input.scale) * _growth(recipe)
    sizes = torch.cat([boxes, (boxes * _zoom(recipe) * _growth(recipe)).clamp(max=largest)])
    reached, who = reached_levels(student, sizes), f"recipe {recipe.name}: distill.levels auto"
    if reached is None:
        return every, f"{who} keeps all: which levels boxes reach in a {type(student).__name__} like this is not known"
    at = f"at {recipe.input.scale[0]}x{recipe.input.scale[1]} px"
    strides = [shared.student_strides[level] for level in shared.student]
    outputs = [level.output for level in shared.of_student]
    # a crop may cut a box to any smaller size, so that no level is too fine, only too coarse
    kept = tuple(place for place in every if (at_output := outputs[place]) is None or any(reached[at_output:]))
    if not kept:
        return every, f"{who} keeps all, as no training box reaches any of them {at}: {_named(every, strides)}"
    left = [place for place in every if place not in kept]
    if not left:
        return kept, ""
    return kept, (
        f"{who} distils {_named(kept, strides)}, and not {_named(left, strides)}, which no training box reaches {at} "
        f"(levels: all distils them too)"
    )


def _zoom(recipe: Recipe) -> float:
    """Return how much larger than annotated a box may become: what a crop adds, when the crop is resized.

    The published crop's share is allowed where there are no crops too, so that a sweep compares the same levels.
    """
    augment = recipe.augment
    crops = (augment.enabled or recipe.distill.me.enabled) and augment.crop.enabled
    return max(ZOOM, 1 / augment.crop.min_ratio if crops else 1.0)


def _growth(recipe: Recipe) -> float:
    """Return how much larger than at the network's size an image may become."""
    section, batch = recipe.input.multi_scale, recipe.input.batch_scale
    together = batch.ratio[1] if batch.enabled else 1.0
    if not section.enabled:
        return max(1.0, together)
    longest = max(recipe.input.scale)
    alone = max(max(one) / longest for one in section.scales) if section.scales else section.ratio[1]
    return max(1.0, alone * together)


def _refuse_missing(recipe: Recipe, field: str, places: Sequence[int], shared: SharedLevels) -> None:
    count = len(shared.student)
    if missing := [place for place in places if place >= count]:
        strides = ", ".join(map(str, shared.strides))
        rule = f"must be among 0..{count - 1}, the levels that student and teacher share (strides {strides})"
        refuse(f"recipe {recipe.name}: {field}", rule, missing[0])


def _named(places: Sequence[int], strides: Sequence[int]) -> str:
    """Write levels for a person: `0, 1 (strides 8, 16)`."""
    return f"{', '.join(map(str, places))} (strides {', '.join(str(strides[place]) for place in places)})"


@lru_cache(maxsize=8)
def box_sizes(annotations: Path, stamp: int, scale: tuple[int, int], keep_ratio: bool) -> Tensor:
    """Return width and height of the training boxes in input pixels, [n, 2]; crowds and boxes without area left out.

    Args:
        annotations: COCO json.
        stamp: time of its last change; a file that has changed is read again.
        scale: of the recipe's input.
        keep_ratio: of the recipe's input.
    """
    index = indexed(annotations)
    before = np.stack([index.widths, index.heights], axis=1)
    after = [rescale_size((width, height), scale) if keep_ratio else scale for width, height in before.tolist()]
    factors = np.array(after, np.float64).reshape(-1, 2) / before
    sizes = index.boxes[:, 2:]
    counted = ~index.crowds & (sizes.min(axis=1, initial=np.inf) > 0)
    return torch.from_numpy((sizes * factors[index.owners])[counted])
