"""The canvas of a pair: the batches that student and teacher see of the same images."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


class Canvas(nn.Module):
    """Pads images to one size for both detectors, and normalises them for each.

    The size is a multiple of both divisors. The teacher sees the student's batch in its own mean, scale, channel order
    and padding, so that a cell of one detector's map looks at the same pixels as the other's.

    Holds no weights: nothing of it is in a state dict.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, or None.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, student: Any, teacher: Any = None) -> None:
        super().__init__()
        own = copy.deepcopy(student.data_preprocessor)  # validation and export keep the student's own divisor
        other = own if teacher is None else teacher.data_preprocessor
        own.pad_size_divisor = self.divisor = canvas_divisor(student, teacher)
        own.batch_augments = None  # they would give the teacher, or the adversarial copies, another size
        self.preprocessor = own
        (our_mean, our_std), (mean, std) = _statistics(own), _statistics(other)
        self._swaps = _reverses(own) != _reverses(other)
        if self._swaps:
            our_mean, our_std = our_mean.flip(0), our_std.flip(0)
        self._padding = float(getattr(other, "pad_value", 0))
        # (x * our_std + our_mean - mean) / std, in double precision up to here
        self.register_buffer("factor", (our_std / std).float(), persistent=False)
        self.register_buffer("offset", ((our_mean - mean) / std).float(), persistent=False)
        alike = torch.equal(our_std, std) and torch.equal(our_mean, mean) and not self._swaps
        self._shared = alike and float(getattr(own, "pad_value", 0)) == self._padding

    def forward(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the student's batch.

        Args:
            data: `inputs`, images [3, H, W] in pixels, and perhaps `data_samples`, on any device.

        Returns:
            `inputs` [N, 3, H', W'], normalised, and `data_samples`.
        """
        batch: dict[str, Any] = self.preprocessor(dict(data), True)
        return batch

    def for_teacher(self, batch: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Return the student's batch as the teacher wants it; the batch itself where both normalise alike.

        Args:
            batch: [N, 3, H', W'], as `forward` makes it.
            sizes: (height, width) of each image within it; the rest is padding.
        """
        if self._shared:
            return batch
        seen = (batch.flip(1) if self._swaps else batch) * self.factor + self.offset
        for image, (height, width) in zip(seen, sizes, strict=True):
            image[:, height:] = self._padding
            image[:, :, width:] = self._padding
        return seen


def canvas_divisor(student: Any, teacher: Any = None) -> int:
    """Return what the sides of a training batch are multiples of, in pixels: the least common multiple of both."""
    detectors = [student] if teacher is None else [student, teacher]
    return math.lcm(*(int(getattr(one.data_preprocessor, "pad_size_divisor", 1)) for one in detectors))


@contextmanager
def untouched_statistics(module: nn.Module) -> Iterator[None]:
    """Let forward passes leave running statistics alone; they normalise by the batch's own all the same."""
    layers = [one for one in module.modules() if isinstance(one, _NormBase) and one.training]
    tracking = [layer for layer in layers if layer.track_running_stats]
    for layer in tracking:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in tracking:
            layer.track_running_stats = True


def _statistics(preprocessor: Any) -> tuple[Tensor, Tensor]:
    """Return mean and scale, [3, 1, 1] each, in the detector's own channel order."""
    if not getattr(preprocessor, "_enable_normalize", False):
        return torch.zeros(3, 1, 1, dtype=torch.double), torch.ones(3, 1, 1, dtype=torch.double)
    ones = torch.ones(3, 1, 1, dtype=torch.double)  # one number may stand for all channels
    return preprocessor.mean.cpu().double() * ones, preprocessor.std.cpu().double() * ones


def _reverses(preprocessor: Any) -> bool:
    return bool(getattr(preprocessor, "_channel_conversion", False))
