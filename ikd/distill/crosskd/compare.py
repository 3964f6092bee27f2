"""CrossKD's losses, between cross predictions and the teacher's own (Wang et al., CVPR 2024)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ikd.distill.losses.crosskd import crosskd_classification
from ikd.distill.views.boxes import giou_distance
from ikd.distill.views.distances import divergence, quality_loss
from ikd.distill.views.locations import Assignment, Locations

Overlap = Literal["giou", "iou"]


def crosskd(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    w_cls: float,
    w_reg: float,
    beta: float,
    overlap: Overlap = "giou",
    mean: bool = False,
) -> dict[str, Tensor]:
    """Return `cls`, `reg` and, where both have one, `quality`, of cross predictions in the place of a student's.

    Boxes weigh by the teacher's highest score: GIoU or -log IoU over the positives, or of heads with bins the
    divergence of these, a mean over sides, over the sum of the weights. With `mean` the classes are averaged over
    places and classes and the overlap over places instead; the other two are means already.
    """
    cls = crosskd_classification(student.logits, teacher.logits, beta, assigned.weight[..., None])
    weights = teacher.logits.detach().sigmoid().amax(dim=-1) * (assigned.weight != 0)
    if student.bins is not None and teacher.bins is not None:
        reg = _of_bins(student.bins, teacher.bins, weights)
    else:
        reg = _of_boxes(student.boxes, teacher.boxes, weights, overlap) / (weights.numel() if mean else assigned.count)
    found = {"cls": w_cls * cls / (teacher.logits.numel() if mean else assigned.count), "reg": w_reg * reg}
    if student.quality is not None and teacher.quality is not None:
        found["quality"] = quality_loss(student, teacher, assigned)
    return found


def _of_bins(ours: Tensor, theirs: Tensor, weights: Tensor) -> Tensor:
    from mmdet.utils import reduce_mean  # mmdet only where a detector exists

    return (divergence(ours, theirs, 1.0).mean(dim=-1) * weights).sum() / reduce_mean(weights.sum()).clamp(min=1)


def _of_boxes(ours: Tensor, theirs: Tensor, weights: Tensor, overlap: Overlap) -> Tensor:
    """Return the weighted sum over places; a teacher's box without area overlaps nothing, and does not count."""
    theirs = theirs.detach()
    has_area = (theirs[..., 2:] > theirs[..., :2]).all(dim=-1)
    distance = giou_distance(ours, theirs) if overlap == "giou" else _log_overlap(ours, theirs)
    return (distance * weights * has_area).sum()


def _log_overlap(ours: Tensor, theirs: Tensor) -> Tensor:
    from mmdet.models.losses.iou_loss import iou_loss

    flat: Tensor = iou_loss(ours.flatten(0, -2), theirs.flatten(0, -2), reduction="none")
    return flat.view(ours.shape[:-1])


def crosskd_roi(
    student: Locations, teacher: Locations, assigned: Assignment, *, w_cls: float, w_reg: float, temperature: float
) -> dict[str, Tensor]:
    """Return `cls` and `reg` of regions scored by the teacher's RoI head on the student's pyramid.

    Classes: the divergence of softmaxes over classes and background, a mean over regions. Boxes: the L1 distance of the
    coded box of the teacher's likeliest class, weighted by its probability, a mean over coordinates and weights.

    References:
        `jbwang1997/CrossKD`, branch faster-rcnn, `crosskd_two_stage.py`.
    """
    counted = assigned.weight != 0
    far = (divergence(student.logits, teacher.logits, temperature) * counted).sum() / counted.sum().clamp(min=1)
    weights, label = teacher.logits.detach().softmax(dim=-1)[..., :-1].max(dim=-1)
    weights = weights * counted
    assert student.deltas is not None
    assert teacher.deltas is not None
    ours, theirs = (_of_class(side, label) for side in (student.deltas, teacher.deltas.detach()))
    distance = (ours - theirs).abs().sum(dim=-1)
    least = torch.finfo(weights.dtype).tiny
    return {"cls": w_cls * far, "reg": w_reg * (distance * weights).sum() / (4 * weights.sum()).clamp(min=least)}


def _of_class(deltas: Tensor, label: Tensor) -> Tensor:
    """Return the coded box of a class of each region, [..., 4]."""
    if deltas.shape[-2] == 1:
        return deltas.squeeze(-2)
    return deltas.gather(-2, label[..., None, None].expand(*label.shape, 1, 4)).squeeze(-2)


def crosskd_mask(student: Tensor, teacher: Tensor, regions: int) -> Tensor:
    """Return the quality focal loss, of focus 1, of mask logits [P, K, H, W] of the regions with an object.

    A sum over pixels and classes, over the number of all regions; without a region with an object it is 0.
    """
    return crosskd_classification(student, teacher, 1.0) / max(regions, 1)
