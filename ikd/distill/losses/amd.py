"""Adaptive Masking Distillation (Yang et al., IJCNN 2023, arXiv 2301.13538): a reconstruction."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.masking import ChannelGate, hide_cells, make_generator, squared_errors
from ikd.distill.losses.weights import UNSCALED, Normaliser, Reduction, Scale

GateSide = Literal["student", "both", "none"]


class AMD(nn.Module):
    r"""AMD for one pyramid level. RECONSTRUCTION: no code was published; never report it as the authors' own.

    .. math:: L = \alpha \tfrac1N \| c(T) \cdot G(S \cdot M) - T \|^2

    M hides the cells to which the teacher attends most, c is a squeeze-and-excitation gate on the restored map.

    Known from the paper: spatial masks that follow the teacher's attention instead of chance, channel cues from an SE
    block, generation as in MGD. Inferred by us: that a fixed share of cells is hidden (the paper's threshold is not
    known), its size and alpha (MGD's), FGD's form of the attention, the gate's input (the teacher's map), its reduction
    of 16, and the side that it acts on.

    Args:
        channels: C of both maps.
        alpha: weight (reduction R1).
        mask_ratio: share of hidden cells, in [0, 1]: floor(mask_ratio H W) in each image; 0 hides none.
        se_side: `student` gates the restored map, `both` that and the teacher's, `none` neither.
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
        se_side: GateSide,
        reduction: Reduction = "published",
        scale: Scale = UNSCALED,
    ) -> None:
        super().__init__()
        self.alpha, self.mask_ratio, self.gates_both = alpha, mask_ratio, se_side == "both"
        self.normaliser = Normaliser(reduction, scale)
        self.generator = make_generator(channels)
        self.gate = None if se_side == "none" else ChannelGate(channels)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        restored = self.generator(student * hide_cells(teacher, self.mask_ratio))
        wanted = teacher
        if self.gate is not None:
            gate = self.gate(teacher)
            restored, wanted = restored * gate, teacher * gate if self.gates_both else teacher
        return self.alpha * squared_errors(restored, wanted).mean() * self.normaliser.elements(student[0].numel())

    def effective_weight(self, elements: int) -> float:
        """Return the weight as that of a mean over `elements` of one image and level."""
        return self.normaliser.effective_weight(self.alpha, elements)
