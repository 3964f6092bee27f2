"""Dual Feature Masking Stage-wise Knowledge Distillation (arXiv 2407.13147, 2024) and DMKD: reconstructions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.masking import DualMasking, squared_errors
from ikd.distill.losses.weights import UNSCALED, Normaliser, Reduction, Scale


class DFMSD(nn.Module):
    r"""Feature loss of DFMSD for one level. RECONSTRUCTION: no code was published; never report it as the authors' own.

    .. math:: L = \tfrac1N \sum_n w_n \| U_n - T_n \|^2, \quad w_n = \beta \text{ if image n is enhanced, else } \alpha

    with U the map restored by dual masking (that of DMKD). Stages, masking enhancement and semantic alignment are the
    trainer's work; which images the enhancement changed comes in `Targets.enhanced`.

    Known from the paper: it is built on DMKD, with generators of their own for each teacher (Eq. 7); the enhanced
    images have a term of their own in the last stage (Eq. 8); alpha and beta weigh the two (Eq. 6), which is what
    `distill.me.form: added` makes of it (a batch of enhanced images alone, besides that of clean ones). Inferred by us:
    everything that is inferred in DMKD, the values of alpha and beta, and their normaliser: under the printed mean over
    elements weights of that size would vanish, so R1 as in MGD (`reduction: mean` is the printed form).

    Args:
        channels: C of both maps.
        alpha: weight of images as they are (reduction R1).
        beta: weight of enhanced images (R1); it has no effect on a batch without any. None is alpha.
        spatial_mask_ratio: share of hidden cells, in [0, 1]: floor(ratio H W) in each image; 0 hides none.
        channel_mask_ratio: share of hidden channels, in [0, 1]: floor(ratio C) in each image; 0 hides none.
        se: whether the channel branch has a squeeze-and-excitation gate.
        reduction: `published` sum over elements, or `mean`.
        scale: factors for another input size.
    """

    generates = True

    def __init__(  # noqa: PLR0913 (hyperparameters of the method)
        self,
        channels: int,
        *,
        alpha: float,
        beta: float | None,
        spatial_mask_ratio: float,
        channel_mask_ratio: float,
        se: bool,
        reduction: Reduction = "published",
        scale: Scale = UNSCALED,
    ) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, alpha if beta is None else beta
        self.normaliser = Normaliser(reduction, scale)
        self.restore = DualMasking(
            channels, spatial_mask_ratio=spatial_mask_ratio, channel_mask_ratio=channel_mask_ratio, se=se
        )

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        errors = squared_errors(self.restore(student, teacher), teacher)  # [N]
        enhanced = targets.enhanced
        if self.alpha == self.beta:  # one weight for all images, as in DMKD
            mean = self.alpha * errors.mean()
        elif enhanced is None:
            mean = (self.alpha * errors).mean()
        else:
            mean = (torch.where(enhanced.to(errors.device), self.beta, self.alpha) * errors).mean()
        return mean * self.normaliser.elements(student[0].numel())

    def effective_weight(self, elements: int) -> float | dict[str, float]:
        """Return alpha and beta as weights of a mean over `elements` of one image and level."""
        weights = {"alpha": self.alpha, "beta": self.beta}
        return {name: self.normaliser.effective_weight(weight, elements) for name, weight in weights.items()}


class _OneWeight(DFMSD):
    """DFMSD whose beta is its alpha."""

    def effective_weight(self, elements: int) -> float:
        """Return alpha as the weight of a mean over `elements` of one image and level."""
        return self.normaliser.effective_weight(self.alpha, elements)


def dmkd(
    channels: int,
    *,
    alpha: float,
    spatial_mask_ratio: float,
    channel_mask_ratio: float,
    se: bool,
    reduction: Reduction = "published",
    scale: Scale = UNSCALED,
) -> DFMSD:
    r"""Make DMKD for one pyramid level: DFMSD with one weight for all images.

    RECONSTRUCTION: no code was published; never report it as the authors' own.

    .. math:: L = \alpha \tfrac1N \| \omega_s G_s(S \cdot M_s) + \omega_c \, c(T) \cdot G_c(S \cdot M_c) - T \|^2

    M_s hides the cells, M_c the channels to which the teacher attends most; omega is a trained softmax of two.

    Known from the paper: two attention maps of the teacher in FGD's form, masks in both dimensions that follow them,
    generation, SE blocks, and learned weights that fuse the branches. Inferred by us: that fixed shares of cells and
    channels are hidden (the thresholds are not known), their sizes (MGD's for detection and for classification), alpha
    (MGD's), that each branch has its own generator, and where the gate acts: on the channel branch, fed by the teacher.

    Args:
        channels: C of both maps.
        alpha: weight (reduction R1).
        spatial_mask_ratio: share of hidden cells, in [0, 1]: floor(ratio H W) in each image; 0 hides none.
        channel_mask_ratio: share of hidden channels, in [0, 1]: floor(ratio C) in each image; 0 hides none.
        se: whether the channel branch has the gate c.
        reduction: `published` sum over elements, or `mean`.
        scale: factors for another input size.
    """
    return _OneWeight(
        channels,
        alpha=alpha,
        beta=None,
        spatial_mask_ratio=spatial_mask_ratio,
        channel_mask_ratio=channel_mask_ratio,
        se=se,
        reduction=reduction,
        scale=scale,
    )
