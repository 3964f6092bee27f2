"""Which branch of a rule the images of a data set take: noise, a crop, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ikd.augment.rule import judged_small
from ikd.augment.union import covered_share
from ikd.config import Recipe
from ikd.data import DataFiles, indexed

Seen = tuple[NDArray[np.float64], NDArray[np.bool_], tuple[int, int]]
"""Boxes of an image that mmdet keeps, [n, 4], corners in px of the original; which are set aside; height and width."""


@dataclass(frozen=True)
class Branch:
    """One branch of a rule.

    Attributes:
        name: noise, crop, or neither.
        images: how many qualify for it.
        probability: with which it is applied to one that qualifies.
    """

    name: str
    images: int
    probability: float


@dataclass(frozen=True)
class Branches:
    """What a rule does to the training images in one stage.

    Attributes:
        rule: what decides, in words.
        images: that are trained on.
        rows: its branches; an image may qualify for none.
    """

    rule: str
    images: int
    rows: tuple[Branch, ...]

    def __str__(self) -> str:
        """Return a table: images of each branch, their share of all, the probability, and the product of both."""
        lines = [self.rule, f"{'branch':<8} {'images':>7} {'share':>7} {'probability':>12} {'altered':>8}"]
        for row in self.rows:
            share = row.images / self.images if self.images else 0.0
            counts = (
                f"{row.images:>7} {100 * share:>6.1f}% {row.probability:>12g} {100 * share * row.probability:>7.1f}%"
            )
            lines.append(f"{row.name:<8} {counts}")
        return "\n".join(lines)


def branches_of(recipe: Recipe) -> list[Branches]:
    """Count, for each stage with noise and crop, how many training images take which branch.

    The rule of masking enhancement asks a teacher; here the annotated boxes stand in for what it would find.

    Raises:
        BadInput: the recipe's data is not there.
    """
    seen: list[Seen] = []
    found: list[Branches] = []
    for number, stage in enumerate(recipe.stages, start=1):
        in_force = stage.recipe
        if not (in_force.augment.enabled or in_force.distill.me.enabled):
            continue
        seen = seen or list(_seen(recipe))
        where = f"stage {number} ({stage.teacher}): " if len(recipe.stages) > 1 else ""
        found.append(_counted(in_force, seen, where))
    return found


def _seen(recipe: Recipe) -> Iterator[Seen]:
    """Yield what a rule sees of each image that is trained on."""
    index = indexed(DataFiles.of(recipe).train)
    places = np.arange(len(index)) if recipe.data.keep_empty else np.flatnonzero(index.with_boxes)
    corners = np.concatenate([index.boxes[:, :2], index.boxes[:, :2] + index.boxes[:, 2:]], axis=1)
    for place in places.tolist():
        own = np.arange(index.first[place], index.first[place + 1])
        own = own[index.held[own]]
        yield corners[own], index.set_aside[own], (int(index.heights[place]), int(index.widths[place]))


def _counted(recipe: Recipe, seen: Sequence[Seen], where: str) -> Branches:
    augment, me = recipe.augment, recipe.distill.me
    if me.enabled:
        rule = f"{where}masking enhancement ({me.form}): noise where boxes cover less than {me.theta:g} of the image, "
        rule += "else a crop; annotated boxes stand in for the previous teacher's"
        shares = [covered_share(boxes[~crowds], size) for boxes, crowds, size in seen]
        judged = [(share < me.theta,) * 2 for share in shares]
    else:
        rule = f"{where}IKD: noise where every box is below {augment.area_threshold:g} px^2, else a crop"
        judged = [
            judged_small(boxes, augment.area_threshold, ignored=crowds, published=augment.published)
            for boxes, crowds, _ in seen
        ]
    for_noise = [noise and augment.noise.enabled for _, noise in judged]
    for_crop = [not small and augment.crop.enabled for small, _ in judged]
    neither = sum(not (noise or crop) for noise, crop in zip(for_noise, for_crop, strict=True))
    rows = (
        Branch("noise", sum(for_noise), augment.noise.probability if augment.noise.enabled else 0.0),
        Branch("crop", sum(for_crop), augment.crop.probability if augment.crop.enabled else 0.0),
        Branch("neither", neither, 0.0),
    )
    return Branches(rule, len(seen), rows)
