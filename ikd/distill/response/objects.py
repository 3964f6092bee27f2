"""Which of the places that a dense head has labelled belong to one object, and how they rank within it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ikd.distill.recording import Call
from ikd.distill.views import Locations
from ikd.distill.views.heads import assignment, labels_of, priors_of

ONE_OBJECT_PX = 0.5
"""Boxes of one class in one image whose sides are less apart are one object: the head's own coding rounds them."""


@dataclass(frozen=True)
class Positives:
    """The places with an object.

    Attributes:
        places: [P], indices among the places of all images, N M.
        labels: [P], classes.
        objects: [P], which object, counted from 0.
        count: number of objects.
    """

    places: Tensor
    labels: Tensor
    objects: Tensor
    count: int


@torch.no_grad()
def positives_of(head: Any, calls: Sequence[Call], said: Locations) -> Positives:
    """Return the positive places of a dense head, object by object.

    Args:
        head: of the student.
        calls: by which its loss labels places.
        said: what it says.
    """
    images = len(said.logits)
    positive = assignment(head, calls, images).positive
    places = positive.flatten().nonzero().squeeze(1)
    labels = labels_of(head, calls, images).flatten()[places]
    told, owners = _TOLD[type(head).__name__](head, calls, said)[places], places // positive.shape[1]
    same = torch.cdist(told, told, p=torch.inf) < ONE_OBJECT_PX
    same &= (owners[:, None] == owners) & (labels[:, None] == labels)
    first = same.to(torch.uint8).argmax(dim=1) if len(places) else places
    found, objects = torch.unique(first, return_inverse=True)
    return Positives(places, labels, objects, len(found))


def _levels(calls: Sequence[Call], said: Locations, at: int) -> Tensor:
    """Return what the only call returned at a place, [N M, 4]."""
    levels = calls[0].result[at]
    return torch.cat([one.reshape(len(said.logits), -1, 4).float() for one in levels], dim=1).flatten(0, 1)


def _as_they_are(head: Any, calls: Sequence[Call], said: Locations, *, at: int) -> Tensor:
    del head
    return _levels(calls, said, at)


def _from_anchors(head: Any, calls: Sequence[Call], said: Locations, *, at: int) -> Tensor:
    coded = _levels(calls, said, at)
    if type(head).__name__ != "DDODHead" and head.reg_decoded_bbox:
        return coded
    return _decoded(head, said, coded, priors_of(head.prior_generator, said.levels, coded))


def _from_points(head: Any, calls: Sequence[Call], said: Locations, *, at: int) -> Tensor:
    distances = _levels(calls, said, at)
    if type(head).__name__ == "FCOSHead" and head.norm_on_bbox:
        strides = torch.cat([distances.new_full((level.places, 1), level.stride) for level in said.levels])
        distances = distances * strides.repeat(len(said.logits), 1)
    assert said.centres is not None
    return _decoded(head, said, distances, said.centres)


def _decoded(head: Any, said: Locations, coded: Tensor, priors: Tensor) -> Tensor:
    decoded: Tensor = head.bbox_coder.decode(priors.repeat(len(said.logits), 1), coded)
    return decoded


def _at_foreground(head: Any, calls: Sequence[Call], said: Locations) -> Tensor:
    """Read YOLOX's boxes, which are there of positives alone."""
    del head
    rows = []
    for call in calls:
        mask, boxes = call.result[0], call.result[3].float()
        rows.append(boxes.new_zeros(len(mask), 4).masked_scatter(mask[:, None].expand(-1, 4), boxes))
    return torch.cat(rows)


def _by_number(head: Any, calls: Sequence[Call], said: Locations) -> Tensor:
    """Read PAA's numbers of objects, an image each: [N M, 1]; what it takes away again is positive no more."""
    del head
    given = [_given(call) for call in calls]
    numbers = said.logits.new_zeros(len(calls), said.logits.shape[1])
    for row, (places, objects) in zip(numbers, given, strict=True):
        row[places] = objects.to(row.dtype)
    return numbers.flatten()[:, None]


def _given(call: Call) -> tuple[Tensor, Tensor]:
    """Return the first positives and their objects, which mmdet hands to `paa_reassign` by position."""
    return call.args[4], call.args[5]


_TOLD: Mapping[str, Callable[[Any, Sequence[Call], Locations], Tensor]] = MappingProxyType(
    {
        "ATSSHead": partial(_from_anchors, at=3),
        "DDODHead": partial(_from_anchors, at=3),
        "FCOSHead": partial(_from_points, at=1),
        "GFLHead": partial(_as_they_are, at=3),
        "LDHead": partial(_as_they_are, at=3),
        "PAAHead": _by_number,
        "RPNHead": partial(_from_anchors, at=2),
        "RTMDetHead": partial(_as_they_are, at=3),
        "RTMDetSepBNHead": partial(_as_they_are, at=3),
        "RetinaHead": partial(_from_anchors, at=2),
        "TOODHead": partial(_as_they_are, at=3),
        "VFNetHead": partial(_from_points, at=2),
        "YOLOXHead": _at_foreground,
    }
)
"""What tells objects of one class and image apart, [N M, D], by the name of the head: the box that each place has to
predict, in input pixels, or the number of its object."""


def rank_divergence(student: Tensor, teacher: Tensor, objects: Tensor, count: int) -> Tensor:
    r"""Return the mean over objects of :math:`KL(\mathrm{softmax}_j z_T \| \mathrm{softmax}_j z_S)`, j its places.

    Args:
        student: z_S, [P].
        teacher: z_T, [P], taken as constant.
        objects: [P], the object of each place, counted from 0.
        count: of objects; without any the loss is 0.

    References:
        Li et al., AAAI 2022, rank mimicking.
    """
    ours, theirs = (_log_shares(scores, objects, count) for scores in (student, teacher.detach()))
    return (theirs.exp() * (theirs - ours)).sum() / max(count, 1)


def _log_shares(scores: Tensor, objects: Tensor, count: int) -> Tensor:
    """Return the logarithm of a softmax over the places of each object, [P]."""
    highest = scores.new_full((count,), -torch.inf).scatter_reduce(0, objects, scores.detach(), "amax")
    shifted = scores - highest[objects]
    total = scores.new_zeros(count).index_add(0, objects, shifted.exp())
    return shifted - total.log()[objects]
