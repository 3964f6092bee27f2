"""Huber distance between feature maps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill import Targets


class HuberLoss(nn.Module):
    """Mean Huber distance for one pyramid level.

    Args:
        weight: w.
        delta: where the distance turns from square to linear, above 0.
    """

    def __init__(self, *, weight: float, delta: float) -> None:
        super().__init__()
        self.weight, self.delta = weight, delta

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        return self.weight * F.huber_loss(student, teacher, delta=self.delta)
