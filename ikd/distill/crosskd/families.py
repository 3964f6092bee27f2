"""What CrossKD does differently from head to head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class _Predictions:
    """Outputs of a head in float32, per level: scores [N, A K, H, W], boxes [N, A d, H, W], centerness [N, A, H, W]."""

    scores: list[Tensor]
    boxes: list[Tensor]
    centerness: list[Tensor] | None = None


@dataclass
class _Assignment:
    """The student's own assignment, per level in the order image, row, column, anchor (M = N H W A of the level).

    Attributes:
        weights: [M], weight of each anchor in the classification loss; 0 for ignored ones.
        positive: [M], whether the anchor has an object.
        count: number of positives, averaged over devices, at least 1.
    """

    weights: list[Tensor]
    positive: list[Tensor]
    count: Tensor


def _distribution_loss(crossed: list[Tensor], taught: list[Tensor], weights: Tensor) -> Tensor:
    """Weighted mean over cells of KL(taught || crossed), summed over bins, averaged over the four sides."""
    from mmdet.utils import reduce_mean

    parts = []
    for ours, theirs in zip(crossed, taught, strict=True):
        shape = (len(ours), 4, -1, *ours.shape[2:])  # [N, 4, bins, H, W]
        log_ours, log_theirs = ours.view(shape).log_softmax(dim=2), theirs.view(shape).log_softmax(dim=2)
        divergence = F.kl_div(log_ours, log_theirs, reduction="none", log_target=True)
        parts.append(divergence.sum(dim=(1, 2)).flatten() / 4)
    return (torch.cat(parts) * weights).sum() / reduce_mean(weights.sum()).clamp(min=1)


def _centerness_loss(crossed: _Predictions, taught: _Predictions, assigned: _Assignment) -> Tensor:
    assert crossed.centerness is not None
    assert taught.centerness is not None
    ours, theirs = _flat(crossed.centerness, 1), _flat(taught.centerness, 1).sigmoid()
    at_positives = torch.cat(assigned.positive).float().unsqueeze(1)
    return F.binary_cross_entropy_with_logits(ours, theirs, at_positives, reduction="sum") / assigned.count


def _flat(maps: list[Tensor], size: int) -> Tensor:
    """Flatten levels of [N, A size, H, W] to [M, size], in the order level, image, row, column, anchor."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, size) for level in maps])
