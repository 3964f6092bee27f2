"""Which of the places that a dense head has labelled belong to one object, and how they rank within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ikd.distill.views.heads import assignment, flat, labels_of

ONE_OBJECT_PX = 0.5
"""Boxes of one class in one image whose sides are less apart are one object: the head's own coding rounds them."""
_BOXES = {"RetinaHead": 2, "RPNHead": 2, "GFLHead": 3, "ATSSHead": 3, "FCOSHead": 1}
"""Where boxes stand in what `get_targets` returns, by the name of the head."""


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
def positives_of(head: Any, targets: Sequence[Any], logits: Sequence[Tensor]) -> Positives:
    """Return the positive places of a dense head, object by object.

    Args:
        head: of the student.
        targets: what its `get_targets` returned.
        logits: its class logits, [N, A K, H, W] a level.
    """
    images = len(logits[0])
    positive = assignment(head, [targets], images).positive
    places = positive.flatten().nonzero().squeeze(1)
    labels = labels_of(head, [targets], images).flatten()[places]
    boxes, owners = _boxes(head, targets, logits)[places], places // positive.shape[1]
    same = torch.cdist(boxes, boxes, p=torch.inf) < ONE_OBJECT_PX
    same &= (owners[:, None] == owners) & (labels[:, None] == labels)
    first = same.to(torch.uint8).argmax(dim=1) if len(places) else places
    found, objects = torch.unique(first, return_inverse=True)
    return Positives(places, labels, objects, len(found))


def _boxes(head: Any, targets: Sequence[Any], logits: Sequence[Tensor]) -> Tensor:
    """Return the box that each place of all images has to predict, [N M, 4] in input pixels."""
    name, images = type(head).__name__, len(logits[0])
    given = [level.reshape(images, -1, 4).float() for level in targets[_BOXES[name]]]
    if name == "FCOSHead" and head.norm_on_bbox:
        given = [level * stride for level, stride in zip(given, head.strides, strict=True)]
    boxes = torch.cat(given, dim=1).flatten(0, 1)
    if name != "FCOSHead" and (name == "GFLHead" or head.reg_decoded_bbox):
        return boxes
    sizes = [level.shape[2:] for level in logits]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device=boxes.device))
    decoded: Tensor = head.bbox_coder.decode(priors.repeat(images, 1), boxes)
    return decoded


def picked(logits: Sequence[Tensor], positives: Positives, num_classes: int) -> Tensor:
    """Return the logit of each positive place for its class, [P], of maps [N, A K, H, W] a level."""
    return flat(logits, num_classes).flatten(0, 1)[positives.places, positives.labels]


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
