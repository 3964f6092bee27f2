"""How much space the perturbations of a data set take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ikd.data.reader import indexed

BYTES_A_VALUE = 0.46
"""What a pixel and channel takes where steps are whole grey levels, rounded up from 0.43 to 0.455 (docs/figures.md)."""
CHANNELS = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Perturbed:
    """The perturbations of one data set.

    Attributes:
        images: number of them.
        pixels: of all images, as the network sees them, without padding.
    """

    images: int
    pixels: int

    @property
    def bytes(self) -> int:
        """About how much space they take."""
        return round(self.pixels * CHANNELS * BYTES_A_VALUE)


def perturbed(annotations: Path, scale: tuple[int, int], keep_ratio: bool) -> Perturbed:
    """Return how large the perturbations of all images are, from the sizes of the images alone.

    Args:
        annotations: COCO json file.
        scale: what mmdet's Resize takes: longest and shortest side with `keep_ratio`, else width and height, px.
        keep_ratio: whether the aspect ratio is kept.

    Raises:
        DataError: see `ikd.data.indexed`.
    """
    index = indexed(annotations)
    sizes = np.stack([index.widths, index.heights], axis=1).astype(np.float64)
    return Perturbed(len(sizes), int(rescaled(sizes, scale, keep_ratio=keep_ratio).prod(1).sum()))


def rescaled(sizes: Floats, scale: tuple[int, int], *, keep_ratio: bool) -> Floats:
    """Return the sizes of images after mmdet's Resize.

    Args:
        sizes: [N, 2], width and height in px, above 0.
        scale: as of `perturbed`.
        keep_ratio: as of `perturbed`.

    Returns:
        [N, 2], px, whole numbers.
    """
    if not keep_ratio:
        return np.broadcast_to(np.array(scale, np.float64), sizes.shape)
    factor = np.minimum(max(scale) / sizes.max(1), min(scale) / sizes.min(1))
    found: Floats = np.floor(sizes * factor[:, None] + 0.5)  # as mmcv.rescale_size
    return found
