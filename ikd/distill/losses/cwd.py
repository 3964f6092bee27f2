"""Channel-wise Knowledge Distillation (Shu et al., ICCV 2021)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ikd.distill.functional import OVER_CHANNEL, Targets, kl_over_positions

_NORM_EPS = 1e-5  # of batch norm, within the root


class CWD(nn.Module):
    r"""CWD for one pyramid level: :math:`w \tau^2 / (NC) \sum_{n,c} KL(p_T \| p_S)`, p a softmax over positions (R6).

    Args:
        tau: temperature > 0.
        weight: w.
        normalise: `none`, or `batch`: both maps go through a batch norm without scale and shift first, by the
            statistics of this batch. The student's adapter is there for equal channels, too, and has no bias.

    References:
        With `batch`: `open-mmlab/mmyolo:configs/rtmdet/distillation/`.
    """

    def __init__(self, *, tau: float, weight: float, normalise: Literal["none", "batch"]) -> None:
        super().__init__()
        self.tau, self.weight = tau, weight
        self.projector = _unbiased if normalise == "batch" else None

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        if self.projector is not None:
            student, teacher = _normalised(student), _normalised(teacher)
        return self.weight * kl_over_positions(student, teacher, self.tau)


def _unbiased(student_channels: int, teacher_channels: int) -> nn.Module:
    return nn.Conv2d(student_channels, teacher_channels, 1, bias=False)


def _normalised(features: Tensor) -> Tensor:
    """Return what a batch norm without scale and shift gives in training; a channel of one value becomes 0."""
    variance = features.var(dim=OVER_CHANNEL, correction=0, keepdim=True)
    centred = features - features.mean(dim=OVER_CHANNEL, keepdim=True)
    return centred * (variance + _NORM_EPS).rsqrt()
