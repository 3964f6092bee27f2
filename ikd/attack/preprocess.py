"""The teacher's own normalisation, as part of the differentiated graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class PixelNormaliser:
    """Maps pixels in the order in which images are loaded (BGR, 0..255) to the input of a detector, and steps back.

    Args:
        detector: any mmdet detector; its `data_preprocessor` says mean, scale and channel order.
    """

    def __init__(self, detector: nn.Module) -> None:
        preprocessor: Any = detector.data_preprocessor
        self.divisor = int(preprocessor.pad_size_divisor)
        self.pad_value = float(preprocessor.pad_value)
        self._swaps = bool(preprocessor._channel_conversion)
        device = next(detector.parameters()).device
        enabled = bool(preprocessor._enable_normalize)
        self._mean = preprocessor.mean.to(device) if enabled else torch.zeros(3, 1, 1, device=device)
        self._std = preprocessor.std.to(device) if enabled else torch.ones(3, 1, 1, device=device)

    def forward(self, pixels: Tensor, valid: Tensor) -> Tensor:
        """Normalise pixels [N, 3, H, W] and put the preprocessor's padding where `valid` [N, 1, H, W] is 0."""
        ordered = pixels.flip(1) if self._swaps else pixels
        return torch.where(valid > 0, (ordered - self._mean) / self._std, self.pad_value)

    def pixel_difference(self, difference: Tensor) -> Tensor:
        """Turn a difference of two normalised images [..., 3, H, W] into one of pixels."""
        pixels = difference * self._std
        return pixels.flip(-3) if self._swaps else pixels


def valid_mask(images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Return [N, 1, H, W]: 1 inside each image's (height, width), 0 on the padding below and right of it."""
    mask = torch.zeros_like(images[:, :1])
    for index, (height, width) in enumerate(sizes):
        mask[index, :, :height, :width] = 1
    return mask


def per_image_input(sizes: Sequence[tuple[int, int]], divisor: int) -> list[tuple[int, int]]:
    """Return each (height, width) rounded up to the divisor."""
    return [tuple(-(-side // divisor) * divisor for side in size) for size in sizes]  # type: ignore[misc]
