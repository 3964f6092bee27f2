"""How much space the perturbations of a data set take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ikd.data.coco import read_annotations
from ikd.errors import DataError, Problem

BYTES_A_VALUE = 0.46
"""What a pixel and channel takes where steps are whole grey levels, rounded up from 0.43 to 0.455 (docs/figures.md)."""
CHANNELS = 3


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
        sizes = [(int(image["width"]), int(image["height"])) for image in read_annotations(annotations)["images"]]
        pixels = sum(_pixels(width, height, scale) if keep_ratio else scale[0] * scale[1] for width, height in sizes)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        rule = "every image must have a width and a height"
        raise DataError(str(Problem(str(annotations), "images", str(error), rule))) from error
    return Perturbed(len(sizes), pixels)


def _pixels(width: int, height: int, scale: tuple[int, int]) -> int:
    """Return the number of pixels of an image after mmdet's Resize with `keep_ratio`."""
    factor = min(max(scale) / max(width, height), min(scale) / min(width, height))
    return int(width * factor + 0.5) * int(height * factor + 0.5)
