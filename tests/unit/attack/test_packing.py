"""Perturbations in few bytes: lossless whatever they hold, small for what sign steps leave, damage is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ikd.attack.packing import HEADER_BYTES, is_whole, pack, unpack

LEVELS = {
    "all": range(-128, 128),
    "one": [0],
    "extremes": [-128, 127],
    "as many as have codes": range(-8, 8),
    "one more": range(-8, 9),
    "relative to the contrast": [-7, -5, -2, 0, 2, 5, 7],
    "far apart": range(-120, 121, 16),
}


def drawn(levels: Any, shape: tuple[int, int, int]) -> Any:
    return np.random.default_rng(0).choice(np.asarray(levels, np.int8), shape)


def back(delta: Any) -> Any:
    found = unpack(pack(delta))
    assert found is not None
    return found


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 7, 3), (33, 47, 3), (64, 64, 3)], ids=str)
def test_any_content_comes_back(levels: Any, shape: tuple[int, int, int]) -> None:
    delta = drawn(levels, shape)
    found = back(delta)
    assert found.dtype == np.int8
    assert np.array_equal(found, delta)


@pytest.mark.parametrize("places", [[0], [-1], [70_000], [5, 199_000, 199_001]], ids=str)
def test_what_is_rare_may_be_anywhere(places: list[int]) -> None:
    delta = drawn(range(-8, 8), (260, 260, 3))
    delta.reshape(-1)[places] = 100
    assert np.array_equal(back(delta), delta)


def test_a_slice_and_another_order_in_memory_come_back() -> None:
    delta = drawn(range(-8, 9), (3, 40, 50)).transpose(1, 2, 0)[3:, 5:]
    assert np.array_equal(back(delta), delta)


def test_half_a_byte_is_the_most_that_sign_steps_take() -> None:
    """Evenly spread whole steps are the worst: six levels of five steps of 2 within 8, and all that clipping adds."""
    shape = (267, 400, 3)
    steps, any_level = drawn([-8, -6, -2, 2, 6, 8], shape), drawn(range(-8, 9), shape)
    clipped = np.where(np.random.default_rng(1).random(shape) < 0.2, any_level, steps)
    assert len(pack(steps)) / steps.size < 0.44, "0.5 bytes of six tenths, log2(6) bits of the rest"
    assert len(pack(clipped)) / clipped.size < 0.49
    assert len(pack(np.zeros(shape, np.int8))) < 1000


@pytest.mark.parametrize("place", ["magic", "checksum", "size", "height", "levels", "codes", "last"])
def test_each_damaged_bit_is_seen(place: str) -> None:
    content = pack(drawn(range(-8, 9), (33, 47, 3)))
    where = {"magic": 0, "checksum": 5, "size": 9, "height": 17, "levels": 30, "codes": 200, "last": -1}[place]
    damaged = bytearray(content)
    damaged[where] ^= 4
    assert unpack(bytes(damaged)) is None
    assert unpack(content) is not None


@pytest.mark.parametrize("kept", [0, 3, HEADER_BYTES - 1, HEADER_BYTES, 500, -1])
def test_a_part_is_no_whole(kept: int) -> None:
    content = pack(drawn(range(-8, 9), (33, 47, 3)))
    part = content[:kept]
    assert unpack(part) is None
    assert not is_whole(part[:HEADER_BYTES], len(part))
    assert is_whole(content[:HEADER_BYTES], len(content))
