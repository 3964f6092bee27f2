"""CrossKD between RoI heads (Wang et al., CVPR 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from ikd.distill.views import Assignment, Locations
from ikd.distill.views.distances import divergence


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
