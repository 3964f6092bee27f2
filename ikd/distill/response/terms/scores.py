"""Losses between the class scores and boxes of two dense heads (BCKD; Yang et al., ICCV 2023) and its plain form."""

from __future__ import annotations

import torch
from torch import Tensor

from ikd.distill.losses.crosskd import crosskd_classification
from ikd.distill.losses.vkd import ClassReduction, over_classes, sigmoid_divergence, softmax_divergence
from ikd.distill.views import Assignment, Locations, joint_logits, place_logits
from ikd.distill.views.boxes import giou_distance
from ikd.distill.views.distances import quality_loss


def score_logits(student: Locations, teacher: Locations, scores: str) -> tuple[Tensor, Tensor, bool]:
    """Return logits of the scores that are compared, and whether they have the quality in them.

    Args:
        student: of the head that learns.
        teacher: of the frozen head.
        scores: `class`, `joint`, or `auto`: joint where one head alone has a quality.
    """
    joint = scores == "joint" or (scores == "auto" and (student.quality is None) != (teacher.quality is None))
    ours, theirs = (joint_logits(one) if joint else one.logits for one in (student, teacher))
    return ours, theirs.detach(), joint


def bckd(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    w_cls: float,
    w_loc: float,
    gamma: float,
    scores: str,
    published: bool,
) -> dict[str, Tensor]:
    r"""Return BCKD's losses, `cls` and `loc`, and `quality` where both heads have one apart from the classes.

    .. math:: L_{cls} = \tfrac{w_c}{n} \sum_i w_i \sum_k BCE(p^S, p^T) |p^T - p^S|^\gamma, \quad
        L_{loc} = \tfrac{w_l}{n} \sum_i w_i \max_k |p^T - p^S| (1 - GIoU)

    The factor of the classes has a gradient, that of the boxes has none. `published` leaves out the levels without a
    positive in the batch, as the authors' code does.

    References:
        Yang et al., Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection, ICCV 2023.
    """
    ours, theirs, joint = score_logits(student, teacher, scores)
    weight = assigned.weight * _levels_with_positives(student, assigned) if published else assigned.weight
    uncertain = weight * (theirs.sigmoid() - ours.detach().sigmoid()).abs().amax(dim=-1)
    found = {
        "cls": w_cls * crosskd_classification(ours, theirs, gamma, weight[..., None]) / assigned.count,
        "loc": w_loc * (uncertain * giou_distance(student.boxes, teacher.boxes.detach())).sum() / assigned.count,
    }
    if not joint and student.quality is not None and teacher.quality is not None:
        found["quality"] = w_cls * quality_loss(student, teacher, assigned)
    return found


def logits(
    student: Locations, teacher: Locations, assigned: Assignment, *, w_cls: float, gamma: float, scores: str
) -> dict[str, Tensor]:
    """Return the cross-entropy with the teacher's scores alone, `cls`; at `gamma` 0 it is never 0."""
    ours, theirs, _ = score_logits(student, teacher, scores)
    return {"cls": w_cls * crosskd_classification(ours, theirs, gamma, assigned.weight[..., None]) / assigned.count}


def vkd(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    temperature: float,
    weight: float,
    class_reduction: ClassReduction,
) -> dict[str, Tensor]:
    """Return T^2 KL of the sigmoids, or of a softmax where the heads have one, over the count: `cls`; 0 at equality."""
    divergence = softmax_divergence if student.softmax else sigmoid_divergence
    sides = [place_logits(side).flatten(0, 1) for side in (student, teacher)]
    found = over_classes(divergence(sides[0], sides[1], temperature), 1, class_reduction)
    return {"cls": weight * (found * (assigned.weight != 0).flatten()).sum() / assigned.count}


def _levels_with_positives(student: Locations, assigned: Assignment) -> Tensor:
    """Return 1 at the places of levels with a positive, else 0, [M]."""
    parts = torch.split(assigned.positive, [level.places for level in student.levels], dim=1)
    return torch.cat([part.any().to(assigned.weight.dtype).expand(part.shape[1]) for part in parts])
