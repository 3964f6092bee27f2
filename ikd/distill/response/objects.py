"""Which of the places that a dense head has labelled belong to one object, and how they rank within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ikd.distill.response.assigned import ASSIGNED, Assignment

ONE_OBJECT_PX = 0.5
"""Boxes of one class in one image whose sides are less apart are one object: the head's own coding rounds them."""
_AT = {"RetinaHead": (0, 2), "RPNHead": (0, 2), "GFLHead": (1, 3), "ATSSHead": (1, 3), "FCOSHead": (0, 1)}
"""Where labels and boxes stand in what `get_targets` returns, by the name of the head."""


@dataclass(frozen=True)
class Positives:
    """The places with an object, in the order level, image, row, column, anchor.

    Attributes:
        places: [P], indices among all places.
        labels: [P], classes.
        objects: [P], which object, counted from 0.
        count: number of objects.
    """

    places: Tensor
    labels: Tensor
    objects: Tensor
    count: int


def assigned_by(head: Any, targets: Sequence[Any]) -> Assignment:
    """Return the assignment of a dense head's own loss; an RPN's is made as a RetinaNet's."""
    name = type(head).__name__
    return ASSIGNED["RetinaHead" if name == "RPNHead" else name](head, targets)


@torch.no_grad()
def positives_of(head: Any, targets: Sequence[Any], logits: Sequence[Tensor]) -> Positives:
    """Return the positive places of a dense head, object by object.

    Args:
        head: of the student.
        targets: what its `get_targets` returned.
        logits: its class logits, [N, A K, H, W] a level.
    """
    assigned = assigned_by(head, targets)
    counted = torch.cat(assigned.positive) & (torch.cat(assigned.weights) != 0)
    places = counted.nonzero().squeeze(1)
    labels = torch.cat([level.flatten() for level in targets[_AT[type(head).__name__][0]]])[places]
    boxes, images = _boxes(head, targets, logits)
    boxes, images = boxes[places], images[places]
    same = torch.cdist(boxes, boxes, p=torch.inf) < ONE_OBJECT_PX
    same &= (images[:, None] == images) & (labels[:, None] == labels)
    first = same.to(torch.uint8).argmax(dim=1) if len(places) else places
    found, objects = torch.unique(first, return_inverse=True)
    return Positives(places, labels, objects, len(found))


def _boxes(head: Any, targets: Sequence[Any], logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the box that each place has to predict, in input pixels, and its image: [M, 4] and [M]."""
    name, num_images = type(head).__name__, len(logits[0])
    given = [level.reshape(-1, 4).float() for level in targets[_AT[name][1]]]
    if name == "FCOSHead" and head.norm_on_bbox:
        given = [level * stride for level, stride in zip(given, head.strides, strict=True)]
    sizes = [level.shape[2:] for level in logits]
    priors = [one.repeat(num_images, 1) for one in head.prior_generator.grid_priors(sizes, device=given[0].device)]
    images = [torch.arange(num_images, device=one.device).repeat_interleave(len(one) // num_images) for one in given]
    boxes = torch.cat(given)
    coded = name == "FCOSHead" or not (name == "GFLHead" or head.reg_decoded_bbox)
    return head.bbox_coder.decode(torch.cat(priors), boxes) if coded else boxes, torch.cat(images)


def picked(logits: Sequence[Tensor], positives: Positives, num_classes: int) -> Tensor:
    """Return the logit of each positive place for its class, [P], of maps [N, A K, H, W] a level."""
    found, before = [], 0
    for level in logits:
        num_images, channels, height, width = level.shape
        anchors = channels // num_classes
        count = num_images * height * width * anchors
        here = (positives.places >= before) & (positives.places < before + count)
        place, label = positives.places[here] - before, positives.labels[here]
        anchor, cell = place % anchors, place // anchors
        row, column = cell // width % height, cell % width
        found.append(level[cell // (width * height), anchor * num_classes + label, row, column])
        before += count
    return torch.cat(found)


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
