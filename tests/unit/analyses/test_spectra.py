"""Spectra against what can be written down, and on real photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ikd.analyses.fourier import bands
from ikd.analyses.spectra import (
    IkdFrequencyPart,
    amplitudes,
    as_picture,
    log_spectrum,
    paired,
    radii,
    rings,
    split_frequencies,
)
from ikd.augment import ProportionalCrop, corrupt
from ikd.errors import BadInput

HEIGHT, WIDTH = 32, 48


def grating(periods: int, *, amplitude: float = 10.0, mean: float = 100.0) -> NDArray[Any]:
    """A cosine along x: [32, 48, 3]."""
    wave = mean + amplitude * np.cos(2 * np.pi * periods * np.arange(WIDTH) / WIDTH)
    return np.broadcast_to(wave[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def photographs(folder: Path, count: int = 12) -> list[NDArray[Any]]:
    return [np.asarray(cv2.imread(str(file))) for file in sorted((folder / "images").iterdir())[:count]]


def test_a_grating_is_two_lines() -> None:
    found = amplitudes(grating(5))
    middle = (HEIGHT // 2, WIDTH // 2)
    expected = np.zeros((HEIGHT, WIDTH))
    expected[middle] = 100 * np.sqrt(HEIGHT * WIDTH)
    expected[middle[0], [middle[1] - 5, middle[1] + 5]] = 10 * np.sqrt(HEIGHT * WIDTH) / 2
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_squares_of_the_amplitudes_add_up_to_those_of_the_picture() -> None:
    picture = np.random.default_rng(0).normal(0, 9, (HEIGHT, WIDTH, 1))
    assert np.square(amplitudes(picture)).sum() == pytest.approx(np.square(picture).sum())


def test_rings_hold_a_grating_where_its_frequency_is() -> None:
    found = rings(amplitudes(grating(12)), 4)  # 12 of 24 periods are half of Nyquist's frequency: the third of four
    assert np.flatnonzero(found > 1e-9).tolist() == [2]
    place = np.floor(paired(radii(HEIGHT, WIDTH)) * 4) == 2
    assert found[2] == pytest.approx(2 * 10 * np.sqrt(HEIGHT * WIDTH) / 2 / place.sum())
    assert rings(amplitudes(grating(0)), 4).max() < 1e-9, "zero frequency counts for nothing"


def test_the_logarithm_of_nothing_is_zero() -> None:
    assert log_spectrum(np.zeros((4, 6, 3))).max() == 0.0
    assert log_spectrum(grating(5))[HEIGHT // 2, WIDTH // 2 + 5] == pytest.approx(np.log1p(5 * HEIGHT * WIDTH))


@pytest.mark.parametrize("shape", [(32, 48, 3), (31, 47, 3), (32, 47, 1)])
@pytest.mark.parametrize("bins", [0, 3, 15, 400])
def test_low_and_high_are_the_picture(shape: tuple[int, int, int], bins: int) -> None:
    picture = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    low, high = split_frequencies(picture, bins)
    np.testing.assert_allclose(low + high, picture, atol=1e-9)
    assert abs(float((low * high).sum())) < 1e-4, "no frequency is in both"


def test_a_grating_is_low_up_to_its_number_of_periods() -> None:
    picture = grating(5)
    np.testing.assert_allclose(split_frequencies(picture, 5)[0], picture, atol=1e-9)
    low, high = split_frequencies(picture, 4)
    np.testing.assert_allclose(low, 100, atol=1e-9)
    np.testing.assert_allclose(high, picture - 100, atol=1e-9)


def test_a_part_is_shown_by_its_magnitude_at_full_brightness() -> None:
    shown = as_picture(np.array([[[-4.0, 0.0], [2.0, 0.0]]]))
    assert shown.tolist() == [[[255, 0], [127, 0]]], "each channel by its own largest; one of nothing stays black"


def test_the_transform_leaves_one_part_of_a_photograph() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    low, high = split_frequencies(picture, 4)
    for part, values in (("low", low), ("high", high)):
        made = IkdFrequencyPart(part, 4).transform({"img": picture.copy()})["img"]
        np.testing.assert_array_equal(made, as_picture(values))


@pytest.mark.parametrize(("part", "bins", "says"), [("middle", 3, "low, high"), ("low", 0, "--bins: must be 1")])
def test_no_other_part_and_no_fewer_bins(part: str, bins: int, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        IkdFrequencyPart(part, bins)


class TestRealPhotographs:
    def test_a_flip_changes_no_ring(self, bccd: Path) -> None:
        for pixels in photographs(bccd):
            same, mirrored = (rings(amplitudes(one), 24) for one in (pixels, pixels[:, ::-1]))
            np.testing.assert_allclose(mirrored, same, rtol=1e-10)

    def test_noise_changes_the_high_ones_most(self, bccd: Path) -> None:
        change = [rings(amplitudes(corrupt(one, 0.08)) - amplitudes(one), 24) for one in photographs(bccd)]
        found = bands(np.mean(change, axis=0))
        assert found["high"] > found["middle"] > found["low"] > 0
        # beyond a photograph's own frequencies, white noise of 20.4 grey levels is Rayleigh: its mean is sqrt(pi) / 2
        assert found["high"] == pytest.approx(20.4 * np.sqrt(np.pi) / 2, rel=0.15)

    def test_a_crop_changes_the_low_ones_most(self, bccd: Path) -> None:
        window, change = ProportionalCrop(0.8), []
        for pixels in photographs(bccd):
            cropped = window.image_alone(pixels).astype(np.float64)
            frame = np.zeros(pixels.shape)
            frame[: cropped.shape[0], : cropped.shape[1]] = cropped - cropped.mean(axis=(0, 1))
            change.append(rings(amplitudes(frame) - amplitudes(pixels), 24))
        found = bands(np.mean(change, axis=0))
        assert abs(found["low"]) > 5 * abs(found["middle"]) > 5 * abs(found["high"])
