"""IKD's feature loss on adversarial copies (Liang et al., ACM MM 2023)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets, kl_over_positions, pearson_distance
from ikd.distill.losses.weights import UNSCALED, Normaliser, Reduction, Scale

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
        weight: float,
        distance: Distance,
        reduction: Reduction = "published",
        scale: Scale = UNSCALED,
    ) -> None:
        super().__init__()
        self.weight, self.distance, self.normaliser = weight, distance, Normaliser(reduction, scale)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        if self.distance == "cwd":
            return self.weight * kl_over_positions(student, teacher, tau=1.0)
        if self.distance == "pkd":
            return self.weight * pearson_distance(student, teacher)
        distance = F.mse_loss if self.distance == "mse" else F.l1_loss
        per_image = distance(student, teacher, reduction="sum") / len(student)
        return self.weight * per_image * self.normaliser.elements(student[0].numel())

    def effective_weight(self, elements: int) -> float:
        """Return the weight as that of a mean over `elements` of one image and level; cwd and pkd are means already."""
        summed = self.distance in ("mse", "l1")
        return self.weight * (self.normaliser.effective_weight(1.0, elements) if summed else 1.0)
