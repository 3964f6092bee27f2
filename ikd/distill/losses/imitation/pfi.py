"""Prediction-guided Feature Imitation (Li et al., AAAI 2022): the loss between maps."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ikd.distill.functional import Targets


class PFI(nn.Module):
    r"""PFI for one pyramid level. RECONSTRUCTION: no code was published; never report it as the authors' own.

    .. math:: L = \frac{w}{L} \, \mathrm{mean}_{nhw}(P \cdot D), \quad
        P = \mathrm{mean}_c (\sigma(z_T) - \sigma(z_S))^2, \quad D = \mathrm{mean}_c (T - S)^2

    Maps count where the two heads disagree; P is taken as constant. Training takes P from `RankedHeads`, which adds
    rank mimicking; where `Targets` say no importance the maps themselves are read as the logits.

    Known from the paper: that differences of predictions guide the imitation, both as squared errors. Inferred by us:
    that P takes no gradient, that it is of scores rather than logits, and both weights. Ports disagree on whether the
    product is squared, which `squared` says.

    Args:
        w_imitation: w.
        squared: the mean of the product's square instead.
        levels: those that are distilled; L is their number.

    References:
        Li et al., Knowledge Distillation for Object Detection via Rank Mimicking and Prediction-guided Feature
        Imitation, AAAI 2022.
    """

    def __init__(self, *, w_imitation: float, squared: bool, levels: Sequence[int] = (0,)) -> None:
        super().__init__()
        self.w_imitation, self.squared, self.levels = w_imitation, squared, tuple(levels)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        disagreement = disagreement_of(student, teacher) if targets.importance is None else targets.importance
        product = disagreement.to(student.dtype) * (student - teacher).square().mean(dim=1)
        return self.w_imitation / len(self.levels) * (product.square() if self.squared else product).mean()


def disagreement_of(student: Tensor, teacher: Tensor) -> Tensor:
    """Return P, [N, H, W], of class logits [N, A K, H, W] of both heads, a mean over anchors and classes; constant."""
    return (student.detach().sigmoid() - teacher.detach().sigmoid()).square().mean(dim=1)
