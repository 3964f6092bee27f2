"""The area rule of IKD: which of the two augmentations an image gets (Liang et al., ACM MM 2023, eq. 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def is_small(boxes_xyxy: ArrayLike, threshold: float, *, ignored: ArrayLike | None = None) -> bool:
    """Tell whether an image holds small objects only.

    Args:
        boxes_xyxy: [n, 4], corners in pixels of the original image, before any resizing.
        threshold: px^2; a box counts as small when its area is below it.
        ignored: [n], true for crowd boxes, which do not count; None when there are none.

    Returns:
        True when every box that counts is small, so also for an image without boxes.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)  # [n, 4]
    if ignored is not None:
        boxes = boxes[~np.asarray(ignored, dtype=bool)]
    return bool(np.all(areas(boxes) < threshold))


def judged_small(
    boxes_xyxy: ArrayLike, threshold: float, *, ignored: ArrayLike | None = None, published: bool
) -> tuple[bool, bool]:
    """Tell whether an image is small, for the crop and for the noise; see `is_small`.

    Args:
        boxes_xyxy: as there, like the next two.
        threshold: px^2.
        ignored: crowd boxes.
        published: as the authors' code, judge for the noise on corners cut to whole pixels.
    """
    small = is_small(boxes_xyxy, threshold, ignored=ignored)
    return small, is_small(np.trunc(boxes_xyxy), threshold, ignored=ignored) if published else small


def areas(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute (x2 - x1)(y2 - y1) of boxes [n, 4]."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]  # [n, 2]
    return sides[:, 0] * sides[:, 1]


def corrupt(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Add noise n ~ N(0, sigma^2), independent per pixel and channel: clip(image / 255 + n, 0, 1) * 255.

    Natural images have most power at low frequencies, so white noise changes their high frequencies most.

    Args:
        image: [H, W, C], 0..255.
        sigma: standard deviation in units of the 0..1 range, 0 or more; 0.08 is severity 1, and 20.4 grey levels.

    Returns:
        [H, W, C], fractions cut off as the authors do. Draws from numpy's global generator.
    """
    noise = np.random.normal(scale=sigma, size=image.shape)
    return (np.clip(image / 255.0 + noise, 0.0, 1.0) * 255.0).astype(np.uint8)
