"""IKD's feature loss on adversarial copies (Liang et al., ACM MM 2023)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ikd.distill._scale import Reduction, Scale
from ikd.distill.functional import Targets, kl_over_positions, pearson_distance

Distance = Literal["mse", "l1", "cwd", "pkd"]


class Adversarial(nn.Module):
    r"""Distance between student and teacher features of the same adversarial image, for one pyramid level.

    mse: :math:`w \tfrac1N \|S - T\|^2` and l1: :math:`w \tfrac1N \|S - T\|_1` (R1, the authors' code; the paper's Eq. 6
    writes another normaliser), cwd at temperature 1 (R6), pkd with its factor 1/2 (R5).

    Args:
        weight: alpha_adv.
        distance: which of the four.
        reduction: `published`, or `mean` over elements for mse and l1.
        scale: factors for another input size, acting on mse and l1.
    """

    def __init__(
        self,
        *,
        weight: float = 1e-5,
        distance: Distance = "mse",
        reduction: Reduction = "published",
        scale: Scale = Scale(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.weight, self.distance, self.mean, self.scale = weight, distance, reduction == "mean", scale

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        if self.distance == "cwd":
            return self.weight * kl_over_positions(student, teacher, tau=1.0)
        if self.distance == "pkd":
            return self.weight * pearson_distance(student, teacher)
        difference = student - teacher
        total = (difference.square() if self.distance == "mse" else difference.abs()).sum() / len(student)
        return self.weight * total * (1 / student[0].numel() if self.mean else self.scale.elements)

    def effective_weight(self, elements: int) -> float:
        """Return the weight as that of a mean over `elements` of one image and level; cwd and pkd are means already."""
        summed = not self.mean and self.distance in ("mse", "l1")
        return self.weight * (elements * self.scale.elements if summed else 1.0)
