"""The one view of a head's outputs that losses between heads are written on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Level(NamedTuple):
    """One level of a pyramid: its stride in input pixels, cells of height and width, and anchors of a cell."""

    stride: float
    height: int
    width: int
    anchors: int

    @property
    def places(self) -> int:
        """Number of places of one image on this level."""
        return self.height * self.width * self.anchors


@dataclass(frozen=True)
class Locations:
    """What a head says of a batch, place by place; places in the order level, row, column, anchor.

    Sets (the queries of a DETR, the regions of an RoI head) have no levels. The outputs of a DETR may have a first axis
    of decoder layers.

    Attributes:
        logits: [N, M, K] of classes; heads with a softmax have K + 1, background last.
        boxes: [N, M, 4] corners in input pixels, differentiable for a student.
        quality: [N, M] logit of centerness or objectness; the score is sigma(logits) sigma(quality).
        bins: [N, M, 4, B] logits of the distances to left, top, right and bottom, in strides.
        levels: finest first; empty for sets.
        centres: [M, 2] or [N, M, 2] in input pixels.
        softmax: the classes exclude one another.
        conditional: classes are learned where objects are alone, so that logits say nothing elsewhere without quality.
        sizes: [N, 4], width, height, width, height of each image in pixels; None where boxes are shares of it already.
        deltas: [N, M, K, 4] what an RoI head says of the box of each class, coded; K is 1 where it is the same for all.
    """

    logits: Tensor
    boxes: Tensor
    quality: Tensor | None = None
    bins: Tensor | None = None
    levels: Sequence[Level] = ()
    centres: Tensor | None = None
    softmax: bool = False
    conditional: bool = False
    sizes: Tensor | None = None
    deltas: Tensor | None = None


class Assignment(NamedTuple):
    """What the student's own loss makes of its places.

    Attributes:
        weight: [N, M], 1, or 0 for places that are ignored or outside.
        positive: [N, M], whether a place has an object.
        count: number of positives, averaged over devices, at least 1.
        objects: of each image the boxes of the truth, [G, 4] in input pixels; None where nobody asks for them.
    """

    weight: Tensor
    positive: Tensor
    count: Tensor  # type: ignore[assignment]  # over the method of tuples
    objects: Sequence[Tensor] | None = None


def unassigned(teacher: Locations) -> Assignment:
    """Return the assignment of images or heads without one: every place counts, the teacher's scores are the count."""
    with torch.no_grad():
        highest = place_logits(teacher).sigmoid().amax(dim=-1)
    return Assignment(torch.ones_like(highest), torch.zeros_like(highest, dtype=torch.bool), highest.sum().clamp(min=1))


def place_logits(one: Locations) -> Tensor:
    """Return logits of what a head says of the classes of every place, [N, M, K]: joint ones where it takes these."""
    return joint_logits(one) if one.conditional else one.logits


def joint_logits(one: Locations) -> Tensor:
    """Return logits whose sigmoids are the scores sigma(logits) sigma(quality), [N, M, K].

    Both logarithms stay finite: a probability of 1 counts as one of 1 - 1e-7.
    """
    if one.quality is None:
        return one.logits
    log_score = (F.logsigmoid(one.logits) + F.logsigmoid(one.quality)[..., None]).clamp(max=-1e-7)
    return log_score - torch.log(-torch.expm1(log_score))
