"""What a weight means: reductions, and carrying a published weight to another input size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Reduction = Literal["published", "mean"]


@dataclass(frozen=True)
class Scale:
    """Factors that keep the strength of sum-reduced losses when the size of the feature maps changes.

    Attributes:
        elements: for losses summed over channels and cells (R1).
        cells: for losses summed over cells (R3, spatial).
        channels: for losses summed over channels (R3, channel).
    """

    elements: float = 1.0
    cells: float = 1.0
    channels: float = 1.0


@dataclass(frozen=True)
class PyramidSize:
    """Size of the maps that a weight was tuned on, or is used on.

    Attributes:
        height: of the padded input, pixels.
        width: of the padded input, pixels.
        channels: of every level.
    """

    height: int
    width: int
    channels: int

    def cells(self, strides: Sequence[int]) -> int:
        """Return the number of cells over all levels."""
        return sum(math.ceil(self.height / stride) * math.ceil(self.width / stride) for stride in strides)


def rescale(reference: PyramidSize, now: PyramidSize, strides: Sequence[int]) -> Scale:
    """Return the factors by which weights tuned at `reference` are multiplied at `now`.

    A loss summed over elements grows with their number, so the factor is the ratio of the element counts.

    Example:
        From 1088x800, 256 channels (4.64e6 elements) to half of each side: elements 4.0 up to rounding of the levels.
    """
    cells = reference.cells(strides) / now.cells(strides)
    channels = reference.channels / now.channels
    return Scale(elements=cells * channels, cells=cells, channels=channels)
