"""High-frequency corruption: white Gaussian noise (IKD's AdpHFC; `gaussian_noise` of imagecorruptions)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def corrupt(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Adds noise n ~ N(0, sigma^2), independent per pixel and channel: clip(image / 255 + n, 0, 1) * 255.

    Natural images have most power at low frequencies, so white noise changes their high frequencies most.

    Args:
        image: [H, W, C], 0..255.
        sigma: standard deviation in units of the 0..1 range, 0 or more; 0.08 is severity 1, and 20.4 grey levels.

    Returns:
        [H, W, C], fractions cut off as the authors do. Draws from numpy's global generator.
    """
    noise = np.random.normal(scale=sigma, size=image.shape)
    return (np.clip(image / 255.0 + noise, 0.0, 1.0) * 255.0).astype(np.uint8)
