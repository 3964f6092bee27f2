"""What stands between a loss and the detectors' maps."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from ikd.distill.confidence import image_by_image
from ikd.distill.functional import Targets, full_precision


class AdaptedLoss(nn.Module):
    """A loss behind a 1x1 convolution that brings the student to the teacher's channels; the identity when equal.

    The loss is computed in float32 at least, also under autocast: a sum over a map overflows half precision. Only what
    a masked loss generates may be computed in half, as `generates_under_autocast` says; its loss has the attribute
    `generates` then, and sums in float32.

    Where `Targets.confidence` says how much each image counts, the loss is computed image by image: the mean over them
    of confidence times loss. A loss that is a mean over images is itself where all count 1.

    Args:
        loss: takes maps of equal channels.
        student_channels: Cs.
        teacher_channels: Ct.
        by_deviation: divide both maps, before the adapter, by the standard deviation of the teacher's over all of its
            elements (of this process's batch; 1 where it is constant): a squared error is then in units of its
            variance, and no loss changes when both maps are scaled alike.
    """

    generates_under_autocast = False

    def __init__(
        self, loss: nn.Module, student_channels: int, teacher_channels: int, *, by_deviation: bool = False
    ) -> None:
        super().__init__()
        self.by_deviation = by_deviation
        same = student_channels == teacher_channels
        self.adapter = nn.Identity() if same else nn.Conv2d(student_channels, teacher_channels, 1)
        self.loss = loss

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level: student [N, Cs, H, W], teacher [N, Ct, H, W] -> scalar."""
        teacher = teacher.detach()
        if self.by_deviation:
            deviation = _deviation(teacher)
            student, teacher = student / deviation, teacher / deviation
        adapted = self.adapter(student)
        half = self.generates_under_autocast and getattr(self.loss, "generates", False)
        with nullcontext() if half else torch.autocast(student.device.type, enabled=False):
            return self._counted(full_precision(adapted), full_precision(teacher), targets)

    def _counted(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        if targets.confidence is None:
            whole: Tensor = self.loss(student, teacher, targets)
            return whole

        def of_one(image: int, known: Targets) -> Tensor:
            only = slice(image, image + 1)
            found: Tensor = self.loss(student[only], teacher[only], known)
            return found

        return image_by_image(of_one, targets, targets.confidence)


def _deviation(teacher: Tensor) -> Tensor:
    """Return the standard deviation over all elements, a scalar; 1 where there is none."""
    deviation = full_precision(teacher).std(correction=0)
    return torch.where(deviation > 0, deviation, 1.0)
