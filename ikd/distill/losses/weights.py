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
        kept: the part of `elements` and `cells` that makes up for levels that are left out.
    """

    elements: float = 1.0
    cells: float = 1.0
    channels: float = 1.0
    kept: float = 1.0


UNSCALED = Scale()


@dataclass(frozen=True)
class Normaliser:
    """What a sum is multiplied by before its weight, by the axes it runs over.

    Attributes:
        reduction: `published` leaves the sum a sum (times its factor in `scale`), `mean` divides it by what it counts.
        scale: factors for another input size; a mean needs none.
    """

    reduction: Reduction = "published"
    scale: Scale = UNSCALED

    def elements(self, count: int) -> float:
        """Return the factor of a sum over `count` elements of one image."""
        return self._factor(self.scale.elements, count)

    def cells(self, count: int) -> float:
        """Return the factor of a sum over `count` cells of one image."""
        return self._factor(self.scale.cells, count)

    def channels(self, count: int) -> float:
        """Return the factor of a sum over `count` channels of one image."""
        return self._factor(self.scale.channels, count)

    def effective_weight(self, weight: float, elements: int) -> float:
        """Return the weight of a sum over `elements` of one image as that of a mean over them."""
        return weight * elements * self.elements(elements)

    def _factor(self, published: float, count: int) -> float:
        return 1 / count if self.reduction == "mean" else published


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


def rescale(reference: PyramidSize, now: PyramidSize, strides: Sequence[int], *, whole: Sequence[int]) -> Scale:
    """Return the factors by which weights tuned on all of `reference` are multiplied on some levels of `now`.

    A loss summed over elements grows with their number, so the factor is the ratio of the element counts, in two steps:
    those of the levels `whole` over those of `strides` at the reference (`kept`), then those of `strides` at the
    reference over those that are there now.

    Args:
        reference: where the weights were tuned.
        now: where they are used.
        strides: of the levels that are compared now, in input pixels.
        whole: of those that they were tuned on.

    Example:
        From 1088x800, 256 channels (4.64e6 elements) to half of each side: elements 4.0 up to rounding of the levels.
        Strides 8, 16, 32 of a detector with 4, 8, 16, 32: kept 72250 / 17850 = 4.05.
    """
    kept = reference.cells(whole) / reference.cells(strides)
    cells = kept * reference.cells(strides) / now.cells(strides)
    channels = reference.channels / now.channels
    return Scale(elements=cells * channels, cells=cells, channels=channels, kept=kept)
