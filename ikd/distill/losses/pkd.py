"""Pearson Knowledge Distillation (Cao et al., NeurIPS 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from ikd.distill.functional import Targets, pearson_distance


class PKD(nn.Module):
    r"""PKD for one pyramid level: half the squared distance of standardised maps.

    .. math:: L = w \, \mathrm{mean}\big((\hat S - \hat T)^2\big) / 2 = w \, \mathrm{mean}_c (1 - r_c) (n-1)/n

    with r_c the Pearson correlation of channel c over n = N H W values (Eqs. 4-6). Mean-reduced as published (R5).

    Args:
        weight: w.
    """

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        return self.weight * pearson_distance(student, teacher)
