"""Masked Generative Distillation (Yang et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.masking import make_generator, squared_errors
from ikd.distill.losses.weights import UNSCALED, Normaliser, Reduction, Scale


class MGD(nn.Module):
    r"""MGD for one pyramid level: a small generator restores the teacher's map from the masked student's.

    .. math:: L = \alpha \tfrac1N \| G(S \cdot M) - T \|^2, \quad M \in \{0,1\}^{N \times 1 \times H \times W}

    Every position counts, masked or not (reduction R1; Eq. 4 of the paper).

    Args:
        channels: C of both maps.
        alpha: weight.
        mask_ratio: probability of a masked position (lambda), in [0, 1].
        reduction: `published` sum over elements, or `mean`.
        scale: factors for another input size.
    """

    generates = True

    def __init__(
        self,
        channels: int,
        *,
        alpha: float,
        mask_ratio: float,
        reduction: Reduction = "published",
        scale: Scale = UNSCALED,
    ) -> None:
        super().__init__()
        self.alpha, self.mask_ratio, self.normaliser = alpha, mask_ratio, Normaliser(reduction, scale)
        self.generator = make_generator(channels)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        num_images, _, height, width = student.shape
        draw = torch.rand((num_images, 1, height, width), device=student.device)
        restored = self.generator(student * (draw >= self.mask_ratio))
        return self.alpha * squared_errors(restored, teacher).mean() * self.normaliser.elements(student[0].numel())

    def effective_weight(self, elements: int) -> float:
        """Return the weight as that of a mean over `elements` of one image and level."""
        return self.normaliser.effective_weight(self.alpha, elements)
