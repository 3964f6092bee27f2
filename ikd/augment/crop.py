"""The crop of AdpCrop: mmdet's random crop with a window of random proportions."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.datasets.transforms import RandomCrop
from numpy.typing import NDArray

from ikd.augment.pair import ADVERSARIAL, UNALTERED, WINDOW, joined, parted


class ProportionalCrop(RandomCrop):
    """Crop to (round(r_h H), round(r_w W)) with r_h, r_w ~ U[min_ratio, 1] at a uniform offset.

    Boxes and masks are clipped, empty ones dropped; a sample left without boxes is skipped (None), as mmdet's data
    sets expect.

    Args:
        min_ratio: smallest side of the window relative to the image's, in (0, 1].
        separate_offsets: draw another offset for the adversarial image of a pair; boxes follow it. That is what the
            authors' code does, and it parts the two images.
    """

    def __init__(self, min_ratio: float, *, separate_offsets: bool = False) -> None:
        super().__init__((min_ratio, min_ratio), crop_type="relative_range")
        self.separate_offsets = separate_offsets

    def _get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        height, width = super()._get_crop_size(image_size)
        return max(height, 1), max(width, 1)  # a ratio near 0 of a tiny image

    def image_alone(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a window [h, w, C] of an image [H, W, C]; it may hold no object."""
        height, width = image.shape[:2]
        return self._window(image, self._get_crop_size((height, width)))

    def _window(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        top, left = self._rand_offset((height - size[0], width - size[1]))
        return image[top : top + size[0], left : left + size[1]]

    def _crop_data(
        self, results: dict[str, Any], crop_size: tuple[int, int], allow_negative_crop: bool
    ) -> dict[str, Any] | None:
        clean, (image, copies) = None, parted(results)
        crafted_later = UNALTERED in results
        if self.separate_offsets and (crafted_later or ADVERSARIAL in copies):
            results["img"] = copies.pop(ADVERSARIAL, image)
            clean = self._window(np.concatenate([image, *copies.values()], axis=2), crop_size)
        flipped = bool(results.get("flip"))
        cropped = super()._crop_data(results, crop_size, allow_negative_crop)
        if cropped is None or np.all(cropped.get("gt_ignore_flags", False)):  # only crowds are left
            return None
        if crafted_later:
            cropped[WINDOW] = flipped, (*self._offset, *cropped["img"].shape[:2])
        if clean is None:
            return cropped
        image, copies = parted({"img": clean, "copies": tuple(copies)})
        return joined(cropped, image, copies | ({} if crafted_later else {ADVERSARIAL: cropped["img"]}))

    def _rand_offset(self, margin: tuple[int, int]) -> tuple[int, int]:
        self._offset: tuple[int, int] = super()._rand_offset(margin)
        return self._offset
