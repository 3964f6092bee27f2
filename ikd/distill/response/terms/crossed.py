"""CrossKD's losses, between cross predictions and the teacher's own (Wang et al., CVPR 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from ikd.distill.losses.crosskd import crosskd_classification
from ikd.distill.response.terms.distances import divergence
from ikd.distill.response.terms.scores import quality_loss
from ikd.distill.views import Assignment, Locations
from ikd.distill.views.boxes import giou_distance


def crosskd(
    student: Locations, teacher: Locations, assigned: Assignment, *, w_cls: float, w_reg: float, beta: float
) -> dict[str, Tensor]:
    """Return `cls`, `reg` and, where both have one, `quality`, of cross predictions in the place of a student's.

    Boxes weigh by the teacher's highest score: GIoU over the positives, or of heads with bins the divergence of these,
    a mean over sides, over the sum of the weights.
    """
    cls = crosskd_classification(student.logits, teacher.logits, beta, assigned.weight[..., None]) / assigned.count
    weights = teacher.logits.detach().sigmoid().amax(dim=-1) * (assigned.weight != 0)
    if student.bins is not None and teacher.bins is not None:
        reg = (divergence(student.bins, teacher.bins, 1.0).mean(dim=-1) * weights).sum() / weights.sum().clamp(min=1)
    else:
        theirs = teacher.boxes.detach()
        has_area = (theirs[..., 2:] > theirs[..., :2]).all(dim=-1)
        reg = (giou_distance(student.boxes, theirs) * weights * has_area).sum() / assigned.count
    found = {"cls": w_cls * cls, "reg": w_reg * reg}
    if student.quality is not None and teacher.quality is not None:
        found["quality"] = quality_loss(student, teacher, assigned)
    return found


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
