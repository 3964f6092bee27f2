"""Channel-wise Knowledge Distillation (Shu et al., ICCV 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from ikd.distill.functional import Targets, kl_over_positions


class CWD(nn.Module):
    r"""CWD for one pyramid level: :math:`w \tau^2 / (NC) \sum_{n,c} KL(p_T \| p_S)`, p a softmax over positions (R6).

    Args:
        tau: temperature > 0.
        weight: w.
    """

    def __init__(self, *, tau: float, weight: float) -> None:
        super().__init__()
        self.tau, self.weight = tau, weight

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        return self.weight * kl_over_positions(student, teacher, self.tau)
