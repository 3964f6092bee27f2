"""Sizes of training images: another one each time, a window of it, and one for all by filling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import Pad, RandomCrop, Resize
from mmdet.registry import TRANSFORMS

from ikd.augment.aside import CONTENT

MOSAIC = "mosaic"
"""Key of a sample that is a mosaic, twice as large as `input.scale`."""


@TRANSFORMS.register_module(name="IkdMultiScale")
class MultiScale(BaseTransform):
    """Resize a sample, all its copies and its annotations to another size than the network's.

    Args:
        scale: a recipe's `input.scale`.
        keep_ratio: of the recipe's input.
        ratio: smallest and largest factor of `scale`, of a mosaic of twice that, drawn evenly.
        scales: sizes of which one is drawn, in place of factors.
    """

    def __init__(
        self,
        *,
        scale: tuple[int, int],
        keep_ratio: bool,
        ratio: tuple[float, float],
        scales: Sequence[Sequence[int]],
    ) -> None:
        self.scale, self.ratio, self.scales = scale, ratio, [(one[0], one[1]) for one in scales]
        self.resize = Resize(scale=scale, keep_ratio=keep_ratio)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the sample at the size drawn; its factor is that from the original image."""
        before = results.get("scale_factor", (1.0, 1.0))
        self.resize.scale = self._drawn(mosaic=bool(results.get(MOSAIC)))
        found: dict[str, Any] = self.resize(results)
        found["scale_factor"] = tuple(a * b for a, b in zip(before, found["scale_factor"], strict=True))
        return found

    def _drawn(self, *, mosaic: bool) -> tuple[int, int]:
        if self.scales:
            return self.scales[int(np.random.randint(len(self.scales)))]
        factor = float(np.random.uniform(*self.ratio)) * (2 if mosaic else 1)
        width, height = (max(1, round(side * factor)) for side in self.scale)
        return width, height


@TRANSFORMS.register_module(name="IkdWindow")
class Window(RandomCrop):
    """Cut a window of a size, anywhere, where a sample is larger; one that is upright gets an upright window.

    Args:
        size: (width, height), px.
        upright: turn the window with the image.
        allow_negative_crop: keep a sample of which no box is left; else it is skipped, as mmdet's data sets expect.
    """

    def __init__(self, size: tuple[int, int], *, upright: bool, allow_negative_crop: bool) -> None:
        super().__init__(tuple(size), allow_negative_crop=allow_negative_crop)
        self.upright, self.negative = upright, allow_negative_crop

    def _get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        height, width = image_size
        across, along = self.crop_size
        if self.upright and (height > width) != (along > across):
            across, along = along, across
        return min(along, height), min(across, width)


@TRANSFORMS.register_module(name="IkdPad")
class FixedPad(Pad):
    """Fill a sample and all its copies up to one size, to the right and below; masks are filled with nothing.

    Args:
        size: (width, height), px.
        fill: grey level.
    """

    def __init__(self, size: tuple[int, int], *, fill: int) -> None:
        super().__init__(size=tuple(size))
        self.fill = fill

    def _pad_img(self, results: dict[str, Any]) -> None:
        image, (across, along) = results["img"], self.size
        results[CONTENT] = image.shape[:2]
        filled = np.full((along, across, image.shape[2]), self.fill, image.dtype)  # mmcv's knows four channels at most
        filled[: image.shape[0], : image.shape[1]] = image
        results["img"], results["img_shape"], results["pad_shape"] = filled, (along, across), filled.shape
