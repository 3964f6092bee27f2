"""Spectra of pictures: amplitudes by frequency, and a picture parted into its low and its high frequencies."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from ikd.errors import refuse

Floats = NDArray[np.float64]
BINS = 30
"""Half the side of the square of low frequencies, in bins of the transform (Liang et al., Figure 2)."""
PARTS = ("low", "high")


def amplitudes(image: NDArray[Any]) -> Floats:
    """Return the amplitude of each frequency, the mean over channels, zero frequency in the middle.

    Args:
        image: [H, W, C].

    Returns:
        [H, W] of |DFT2| / sqrt(H W), grey levels: the squares add up to those of the picture. A grating A cos(2 pi k x
        / W) has A sqrt(H W) / 2 at -k and at k.
    """
    height, width = image.shape[:2]
    found = np.abs(np.fft.fft2(image.astype(np.float64), axes=(0, 1))) / np.sqrt(height * width)
    return np.asarray(np.fft.fftshift(found, axes=(0, 1)).mean(axis=2), dtype=np.float64)


def log_spectrum(image: NDArray[Any]) -> Floats:
    """Return log(1 + |DFT2|) [H, W], the mean over channels, zero frequency in the middle (Liang et al., Figure 4).

    The authors' code takes the rows of an image for its channels, and the logarithm of 0 where nothing is.
    """
    found = np.abs(np.fft.fft2(image.astype(np.float64), axes=(0, 1)))
    return np.asarray(np.log1p(np.fft.fftshift(found, axes=(0, 1))).mean(axis=2), dtype=np.float64)


def paired(spectrum: Floats) -> Floats:
    """Drop the first row and column, which of an even size have no frequency opposite; the authors drop them too."""
    return spectrum[1:, 1:]


def radii(height: int, width: int) -> Floats:
    """Return the distance [H, W] of each frequency from zero, 1 being Nyquist's along an axis (up to 1.41)."""
    down, right = (np.fft.fftshift(np.fft.fftfreq(side)) / 0.5 for side in (height, width))
    return np.asarray(np.hypot(down[:, None], right[None, :]), dtype=np.float64)


def rings(spectrum: Floats, count: int) -> Floats:
    """Return the mean of a spectrum [H, W] over rings of equal width from zero to Nyquist's frequency: [count].

    Zero frequency, and what has none opposite, is left out. A mirrored picture has the same rings.
    """
    height, width = spectrum.shape
    place = np.floor(paired(radii(height, width)) * count).astype(np.int64)
    values, inside = paired(spectrum), place < count
    inside[height // 2 - 1, width // 2 - 1] = False  # zero frequency: the mean brightness
    total = np.bincount(place[inside], values[inside], minlength=count)
    return np.asarray(total / np.maximum(np.bincount(place[inside], minlength=count), 1), dtype=np.float64)


def split_frequencies(image: NDArray[Any], bins: int = BINS) -> tuple[Floats, Floats]:
    """Part a picture into low and high frequencies (Liang et al., Figure 2).

    Low are those of at most `bins` periods over the height and over the width. The authors' square reaches from -30 to
    29, which leaves a picture that is not real; this one is as wide on both sides, so that the parts add up.

    Args:
        image: [H, W, C].
        bins: 0 or more; 0 leaves the mean of each channel as its low part.

    Returns:
        Low and high part, each [H, W, C] and of either sign; their sum is the picture.
    """
    height, width = image.shape[:2]
    down, right = (np.abs(np.fft.fftfreq(side) * side) <= bins for side in (height, width))
    low_alone = (down[:, None] & right[None, :])[:, :, None]
    found = np.fft.fft2(image.astype(np.float64), axes=(0, 1))
    low = np.fft.ifft2(np.where(low_alone, found, 0), axes=(0, 1)).real
    return low, image - low


def as_picture(part: Floats) -> NDArray[np.uint8]:
    """Return the magnitude of a part [H, W, C], each channel brought to 255 at its largest, as the authors show it."""
    size = np.abs(part)
    largest = size.max(axis=(0, 1), keepdims=True)
    return np.asarray(255 * size / np.where(largest > 0, largest, 1), dtype=np.uint8)


@TRANSFORMS.register_module()
class IkdFrequencyPart(BaseTransform):
    """Leave one part of the frequencies of a photograph, as it was read.

    Args:
        part: `low` or `high`; see `split_frequencies`.
        bins: 1 or more.

    Raises:
        BadInput: another part, or fewer bins.
    """

    def __init__(self, part: str, bins: int = BINS) -> None:
        if part not in PARTS:
            refuse("frequency: part", f"must be one of {', '.join(PARTS)}", part)
        check_bins(bins)
        self.part, self.bins = part, bins

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replace `img` [H, W, C]."""
        low, high = split_frequencies(results["img"], self.bins)
        results["img"] = as_picture(low if self.part == "low" else high)
        return results


def check_bins(bins: int) -> None:
    """Refuse a number of bins that is none.

    Raises:
        BadInput: it is below 1.
    """
    if bins < 1:
        refuse("--bins", "must be 1 or more", bins)
