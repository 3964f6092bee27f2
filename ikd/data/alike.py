"""Images that are in both parts: the same files, and those that look the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ikd.data.images import THUMB, Facts

NEAR_BITS = 8
"""Bits of 64 in which two images' hashes may differ to be compared by their thumbnails."""
NEAR_CORRELATION = 0.99
FLAT_LEVELS = 4.0
"""Deviation in grey levels below which an image is too flat to be told from another one."""


def same_files(train: Sequence[Facts], val: Sequence[Facts]) -> list[tuple[int, int]]:
    """Return pairs of equal files, as their places in `val` and `train`; one pair for each image of `val`."""
    place = {one.sha256: index for index, one in reversed(list(enumerate(train))) if one.sha256}
    return [(index, place[one.sha256]) for index, one in enumerate(val) if one.sha256 in place]


def near_files(train: Sequence[Facts], val: Sequence[Facts]) -> list[tuple[int, int]]:
    """Return pairs of images that look the same though their files differ, as `same_files` does.

    Hashes of 64 bits choose whom to compare: whether each of 8 x 8 fields is brighter than their median.
    """
    learnt, asked = _thumbs(train), _thumbs(val)
    hashes, wanted = _hashes(learnt), _hashes(asked)
    usable = learnt.std(1) >= FLAT_LEVELS
    found = []
    for index in np.flatnonzero(asked.std(1) >= FLAT_LEVELS).tolist():
        differing = np.bitwise_count(hashes ^ wanted[index])
        close = np.flatnonzero((differing <= NEAR_BITS) & usable)
        alike = [
            place
            for place in close.tolist()
            if np.corrcoef(learnt[place], asked[index])[0, 1] >= NEAR_CORRELATION
            and train[place].sha256 != val[index].sha256
        ]
        if alike:
            found.append((index, alike[0]))
    return found


def _thumbs(facts: Sequence[Facts]) -> NDArray[np.float32]:
    joined = b"".join(one.thumb or bytes(THUMB**2) for one in facts)
    return np.frombuffer(joined, np.uint8).reshape(-1, THUMB**2).astype(np.float32)


def _hashes(thumbs: NDArray[np.float32]) -> NDArray[np.uint64]:
    half = THUMB // 2
    fields = thumbs.reshape(-1, half, 2, half, 2).mean((2, 4)).reshape(-1, half * half)
    bits = fields > np.median(fields, axis=1, keepdims=True) if len(fields) else fields > 0
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)
