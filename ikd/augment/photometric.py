"""Colours of the whole picture, as YOLOX and SSD vary them."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PhotoMetricDistortion, YOLOXHSVRandomAug
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from ikd.augment.joint import own_generator
from ikd.augment.pair import REFERENCE, joined, parted


@TRANSFORMS.register_module(name="IkdPhotometric")
class Photometric(BaseTransform):
    """Vary the colours of the image, and alike those of `reference`, with which it is compared; other copies stay.

    mmdet's transforms do it, with random numbers that follow from the state of numpy's global generator and leave that
    as it is: boxes, flips and crops are those of a training without it.

    Args:
        kind: hsv or distortion.
        hue: largest change for hsv.
        saturation: likewise.
        brightness: likewise.
    """

    def __init__(self, *, kind: str, hue: int, saturation: int, brightness: int) -> None:
        self.change = YOLOXHSVRandomAug(hue, saturation, brightness) if kind == "hsv" else PhotoMetricDistortion()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the sample with other colours."""
        image, copies = parted(results)
        before, seed = np.random.get_state(), int(own_generator().integers(2**32))
        try:
            changed = self._changed(image, seed)
            if REFERENCE in copies:
                copies[REFERENCE] = self._changed(copies[REFERENCE], seed)
        finally:
            np.random.set_state(before)
        return joined(results, changed, copies)

    def _changed(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        np.random.seed(seed)
        found = self.change({"img": np.ascontiguousarray(image)})["img"]
        clipped: NDArray[np.uint8] = np.clip(np.rint(found), 0, 255).astype(np.uint8)
        return clipped
