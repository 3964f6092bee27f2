"""How much space the perturbations of a data set take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ikd.data.coco import read_annotations
from ikd.errors import DataError, Problem

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
        DataError: the file is no COCO json file, or an image has no size.
    """
    try:
        images = read_annotations(annotations)["images"]
        sizes = np.array([(int(image["width"]), int(image["height"])) for image in images], np.float64).reshape(-1, 2)
        if not (sizes > 0).all():
            raise ValueError(f"{sizes.min():g} px")
    except (KeyError, TypeError, ValueError) as error:
        rule = "every image must have a width and a height"
        raise DataError(str(Problem(str(annotations), "images", str(error), rule))) from error
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
