"""Feature Richness Score (Du et al., NeurIPS 2021): the loss between maps."""

from __future__ import annotations

from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.imitation.masked import make_adapter, mean_over_cells
from ikd.distill.losses.weights import Reduction


class FRS(nn.Module):
    r"""FRS for one pyramid level: cells count as much as the teacher scores them.

    .. math:: L = w_f \frac{\sum m \, \|A(S) - T\|^2}{\sum m}, \quad m = \max_c \sigma(z_T)

    with A a 3x3 convolution and the squared distance over channels (R7). Sums run over the batch, so that its loss is
    not the mean of those of its images. Training takes m from `ScoredHeads`, which adds the loss of the class scores;
    where `Targets` say no importance the teacher's map itself is read as the logits.

    Args:
        channels: C of both maps.
        w_feature: w_f.
        reduction: `published` sum over channels, or `mean`.

    References:
        Du et al., Distilling Object Detectors with Feature Richness, NeurIPS 2021, Eqs. 2-6; `duzhixing/FRS`.
    """

    def __init__(self, channels: int, *, w_feature: float, reduction: Reduction = "published") -> None:
        super().__init__()
        self.w_feature, self.mean = w_feature, reduction == "mean"
        self.imitator = make_adapter(channels)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        errors = (self.imitator(student) - teacher).square()
        richness = richness_of(teacher) if targets.importance is None else targets.importance.to(errors.dtype)
        return self.w_feature * mean_over_cells(errors, richness) / (student.shape[1] if self.mean else 1)


def richness_of(logits: Tensor) -> Tensor:
    """Return the highest score of each cell, over anchors and classes: [N, A K, H, W] -> [N, H, W]."""
    return logits.amax(dim=1).sigmoid()
