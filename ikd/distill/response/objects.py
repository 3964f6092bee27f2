"""Which of the places that a dense head has labelled belong to one object, and how they rank within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ikd.distill.recording import Call
from ikd.distill.views import Locations
from ikd.distill.views.heads import assignment, labels_of, row_of

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
    told, owners = row_of(head).told(head, calls, said).flatten(0, 1)[places], places // positive.shape[1]
    same = torch.cdist(told, told, p=torch.inf) < ONE_OBJECT_PX
    same &= (owners[:, None] == owners) & (labels[:, None] == labels)
    first = same.to(torch.uint8).argmax(dim=1) if len(places) else places
    found, objects = torch.unique(first, return_inverse=True)
    return Positives(places, labels, objects, len(found))


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
