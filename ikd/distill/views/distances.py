"""Distances between what two heads say, place by place."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ikd.distill.losses.vkd import softmax_divergence
from ikd.distill.views.locations import Assignment, Locations


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) of softmaxes along the last axis, [...]."""
    return softmax_divergence(student, teacher, temperature).sum(dim=-1)


def quality_loss(student: Locations, teacher: Locations, assigned: Assignment) -> Tensor:
    """Return the cross-entropy of the qualities at the positives, summed over their count."""
    assert student.quality is not None
    assert teacher.quality is not None
    wanted = teacher.quality.detach().sigmoid()
    found = F.binary_cross_entropy_with_logits(
        student.quality, wanted, weight=assigned.positive.to(wanted.dtype), reduction="sum"
    )
    return found / assigned.count
