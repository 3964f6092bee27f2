"""Score-weighted L2: maps compared where the teacher sees something."""

from __future__ import annotations

from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.imitation.frs import richness_of
from ikd.distill.losses.imitation.masked import mean_over_cells


class SL2(nn.Module):
    r"""Score-weighted L2 for one pyramid level: squared errors, cells weighted by the teacher's highest score there.

    .. math:: L = w \frac{\sum a \, \|P(S) - T\|^2}{C \sum a}, \quad a = \max_k \sigma(z_T)

    with P two 1x1 convolutions around a ReLU, there for equal channels too, trained beside the student and left out of
    it. Sums run over the batch, so that its loss is not the mean of those of its images; it changes neither with the
    input size nor with the channels (R8). Training takes a from `SurestCells`, the highest score of a cell's anchors;
    where `Targets` say no importance the teacher's map itself is read as the logits. The published weight of 6 stands
    beside a detection loss that is a sum over images, and is multiplied by their number there: here it is 6 again.

    Args:
        weight: w.

    References:
        Knowledge distillation of YOLO26 (Ultralytics, 2026), from the measured mathematics alone.
    """

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        self.weight = weight

    @staticmethod
    def projector(student_channels: int, teacher_channels: int) -> nn.Module:
        """Return P, in place of the convolution by which other losses bring the student to the teacher's channels."""
        return nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, 1),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, 1),
        )

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        errors = (student - teacher).square()
        scores = richness_of(teacher) if targets.importance is None else targets.importance.to(errors.dtype)
        return self.weight * mean_over_cells(errors, scores) / student.shape[1]
