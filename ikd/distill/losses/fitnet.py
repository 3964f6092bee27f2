"""FitNet hints (Romero et al., ICLR 2015), in the form used for detection."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets


class FitNet(nn.Module):
    r"""Hint loss for one pyramid level: :math:`L = w \, \mathrm{mean}\big((A(S) - T)^2\big)`, a mean as published (R5).

    A is the 1x1 adapter of `AdaptedLoss`, the identity when the channel counts agree. Trained jointly with the
    detector's own loss, as detection ports do; the paper trains the hints beforehand.

    Args:
        weight: w.
    """

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        return self.weight * F.mse_loss(student, teacher)
