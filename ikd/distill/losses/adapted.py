"""What stands between a loss and the detectors' maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

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
        loss: takes maps of equal channels; one with a function `projector` of both numbers of channels makes by it what
            stands there, whatever these are.
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
        self.adapter = (getattr(loss, "projector", None) or _adapter)(student_channels, teacher_channels)
        self.loss = loss

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level: student [N, Cs, H, W], teacher [N, Ct, H, W] -> scalar."""
        student, teacher, targets = _scaled(student, teacher, targets, self.by_deviation)
        adapted = self.adapter(student)
        if targets.partners is not None:
            ours, theirs = targets.partners
            ours = full_precision(self.adapter(ours[..., None, None]).flatten(1))
            targets = replace(targets, partners=(ours, theirs))
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


class AdaptedPyramid(nn.Module):
    """A loss of all levels at once, behind an adapter for each; see `AdaptedLoss`.

    Args:
        loss: takes maps of equal channels, a list of levels of each side.
        student_channels: of each level, finest first.
        teacher_channels: of each level.
        by_deviation: as in `AdaptedLoss`, level by level.
    """

    def __init__(
        self, loss: nn.Module, student_channels: Sequence[int], teacher_channels: Sequence[int], *, by_deviation: bool
    ) -> None:
        super().__init__()
        self.by_deviation = by_deviation
        sides = zip(student_channels, teacher_channels, strict=True)
        self.adapter = nn.ModuleList(_adapter(ours, theirs) for ours, theirs in sides)
        self.loss = loss

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor], targets: Targets
    ) -> Tensor:
        """Return the weighted loss of all levels, a scalar; a map alone is a pyramid of one level."""
        sides = ([side] if isinstance(side, Tensor) else side for side in (student, teacher))
        ours, theirs = [], []
        for adapter, *pair in zip(self.adapter, *sides, strict=True):
            scaled, other, _ = _scaled(pair[0], pair[1], targets, self.by_deviation)
            ours.append(full_precision(adapter(scaled)))
            theirs.append(full_precision(other))
        with torch.autocast(ours[0].device.type, enabled=False):
            if targets.confidence is not None:
                return image_by_image(
                    lambda image, known: self.loss(*_only(image, ours, theirs), known), targets, targets.confidence
                )
            loss: Tensor = self.loss(ours, theirs, targets)
        return loss


def _only(image: int, *sides: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    return ([level[image : image + 1] for level in side] for side in sides)


def _adapter(student_channels: int, teacher_channels: int) -> nn.Module:
    if student_channels == teacher_channels:
        return nn.Identity()
    return nn.Conv2d(student_channels, teacher_channels, 1)


def _scaled(student: Tensor, teacher: Tensor, targets: Targets, by_deviation: bool) -> tuple[Tensor, Tensor, Targets]:
    """Return both maps, the teacher's without gradient, and partners, in units of its deviation where that is asked."""
    teacher = teacher.detach()
    if not by_deviation:
        return student, teacher, targets
    deviation = _deviation(teacher)
    if targets.partners is not None:
        ours, theirs = targets.partners
        targets = replace(targets, partners=(ours / deviation, theirs / deviation))
    return student / deviation, teacher / deviation, targets


def _deviation(teacher: Tensor) -> Tensor:
    """Return the standard deviation over all elements, a scalar; 1 where there is none."""
    deviation = full_precision(teacher).std(correction=0)
    return torch.where(deviation > 0, deviation, 1.0)
