"""A teacher's detections as soft targets of a dense student, one that needs no assigner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ikd.distill.losses.crosskd import focused_entropy
from ikd.distill.views import Assignment, Locations
from ikd.distill.views.boxes import giou_distance, iou


def soft_labels(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    tau: float,
    alpha: float,
    beta: float,
    candidates: int,
    w_cls: float,
    w_box: float,
) -> dict[str, Tensor]:
    r"""Return `cls` and `box` at the places that the teacher's detections choose.

    A detection j of score s_j wants the `candidates` places within its box of the highest
    :math:`p_{k_j}^\alpha IoU^\beta`; a place that several want goes to the largest overlap. Its target is s_j times its
    alignment over the highest of j times the largest overlap of j. Both losses are over the sum of targets, averaged
    over devices, at least 1. Background learns nothing, so that it may stand beside labels. The assignment is not read.

    Args:
        student: dense, with centres.
        teacher: a set: logits [N, J, K] whose sigmoids are scores, -inf or very low for other classes, and boxes.
        assigned: not read.
        tau: least score of a detection.
        alpha: power of the score in the alignment.
        beta: power of the overlap in it.
        candidates: places of a detection, at most.
        w_cls: weight of the classes.
        w_box: weight of the boxes.
    """
    from mmdet.utils import reduce_mean  # mmdet only where a detector exists

    del assigned
    with torch.no_grad():
        images = range(len(student.logits))
        chosen = [_chosen(student, teacher, image, tau, (alpha, beta), candidates) for image in images]
    parts = [_of_image(student, teacher, image, *found) for image, found in enumerate(chosen)]
    total = reduce_mean(torch.stack([metric.sum() for _, _, metric in chosen]).sum()).clamp(min=1)
    cls, box = (torch.stack(side).sum() / total for side in zip(*parts, strict=True))
    return {"cls": w_cls * cls, "box": w_box * box}


def _of_image(student: Locations, teacher: Locations, image: int, at: Tensor, whose: Tensor, metric: Tensor) -> Any:
    ours, target = student.logits[image, at], torch.zeros_like(student.logits[image, at])
    target[torch.arange(len(at), device=at.device), teacher.logits[image].argmax(dim=1)[whose]] = metric
    far = giou_distance(student.boxes[image, at], teacher.boxes[image, whose].detach())
    return focused_entropy(ours, target, 2).sum(), (metric * far).sum()


def _chosen(
    student: Locations, teacher: Locations, image: int, tau: float, powers: tuple[float, float], candidates: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the places of one image that are kept, the detection of each and its target, [P] each."""
    scores, labels = teacher.logits[image].sigmoid().max(dim=1)
    sure = (scores >= tau).nonzero().squeeze(1)
    assert student.centres is not None
    centres = student.centres.expand(len(student.logits), -1, -1)[image]
    boxes = teacher.boxes[image, sure][:, None]  # [J, 1, 4]
    overlaps = iou(student.boxes[image][None], boxes)
    probable = student.logits[image].sigmoid().T[labels[sure]]
    aligned = probable ** powers[0] * overlaps.clamp(min=0) ** powers[1]
    inside = ((centres > boxes[..., :2]) & (centres < boxes[..., 2:])).all(dim=2)
    aligned = aligned * inside
    best = aligned.topk(min(candidates, aligned.shape[1]), dim=1).indices
    wanted = torch.zeros_like(inside).scatter(1, best, value=True) & (aligned > 0)
    if not len(sure):
        return sure, sure, scores[:0]
    whose = overlaps.masked_fill(~wanted, -1.0).argmax(dim=0)
    wanted &= torch.arange(len(sure), device=sure.device)[:, None] == whose
    kept, shared = aligned * wanted, overlaps * wanted
    relative = kept / kept.amax(dim=1, keepdim=True).clamp(min=1e-12)
    metric = scores[sure][:, None] * relative * shared.amax(dim=1, keepdim=True)
    at = wanted.any(dim=0).nonzero().squeeze(1)
    return at, sure[whose[at]], metric[whose[at], at]
