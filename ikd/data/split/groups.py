"""Images that must not be parted: copies, pictures that look alike, frames of one film."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ikd.data.alike import FLAT_LEVELS
from ikd.data.images import THUMB, Facts

SIMILAR = (0.9, 0.95, 0.99)
"""Correlations of thumbnails from which on pictures look alike: the first under which no group is too large. By chance
one pair of ten thousand photographs of an aquarium reaches the first, and none of blood cells."""
NUMBERING = 0.5
"""A name without its number that more than this share of all images has is the numbering of a camera or data set."""
CAMERAS = {"", "dsc", "dscf", "dscn", "dji", "gopr", "image", "img", "p", "photo", "pic", "picture", "pxl"}
PARTS = {"train", "val", "valid", "validation", "test"}
"""Words of such numberings, whatever their share."""
BLOCK = 2048
_SOURCE = re.compile(r"[._]rf[._][0-9a-f]{8,}")
"""What Roboflow puts behind the name of an image, once for each altered copy of it."""


class Union:
    """Joins places 0..n-1 into groups; each is called by its first place."""

    def __init__(self, groups: Sequence[int]) -> None:
        self._parents = list(groups)

    def find(self, place: int) -> int:
        """Return the group of a place."""
        while self._parents[place] != place:
            self._parents[place] = self._parents[self._parents[place]]
            place = self._parents[place]
        return place

    def join(self, places: Sequence[int]) -> None:
        """Put places into one group."""
        for place in places[1:]:
            first, other = sorted((self.find(places[0]), self.find(place)))
            self._parents[other] = first

    def join_equal(self, keys: Iterable[Hashable]) -> None:
        """Put places of equal keys into one group; None is equal to nothing."""
        found = defaultdict(list)
        for place, key in enumerate(keys):
            if key is not None:
                found[key].append(place)
        for places in found.values():
            self.join(places)

    def groups(self) -> list[int]:
        """Return the group of each place."""
        return [self.find(place) for place in range(len(self._parents))]


def grouped(names: Sequence[str], facts: Sequence[Facts], most: int, pattern: str | None = None) -> list[int]:
    """Return the group of each image, as the first place in it.

    Together are files that are equal or come from one source; frames of one film, whose names differ in their last
    number alone, unless that is the numbering of a camera or of the data set; and pictures whose thumbnails correlate.

    Args:
        names: of the files.
        facts: of the same.
        most: images of the largest group that likeness should make: where it makes larger ones, as a camera that stands
            still does, pictures must be more alike.
        pattern: a regular expression; equal texts that it finds in names are films, in place of the rule above.
    """
    known = Union(range(len(names)))
    known.join_equal(fact.sha256 or None for fact in facts)
    known.join_equal(_SOURCE.split(name)[0] if _SOURCE.search(name) else name for name in names)
    known.join_equal(_films(names) if pattern is None else [_found(pattern, name) for name in names])
    before = known.groups()
    found = before
    for bound in SIMILAR:
        alike = Union(before)
        for pair in _alike(facts, bound):
            alike.join(pair)
        found = alike.groups()
        if max(Counter(found).values(), default=0) <= max(most, *Counter(before).values()):
            break
    return found


def _films(names: Sequence[str]) -> list[str | None]:
    """Return names without their last number; None where they have none, or it is no frame's."""
    films: list[str | None] = []
    for name in names:
        path = PurePosixPath(_SOURCE.split(name)[0])
        film, count = re.subn(r"\d+(?=\D*$)", "#", path.stem)
        films.append(f"{path.parent}/{film}" if count else None)
    counts = Counter(films)
    return [None if one is None or _is_numbering(one, counts[one] / len(names)) else one for one in films]


def _found(pattern: str, name: str) -> str | None:
    found = re.search(pattern, name)
    return found.group(0) if found else None


def _is_numbering(film: str, share: float) -> bool:
    word = re.sub(r"[^a-z]", "", PurePosixPath(film).name.lower())
    return share > NUMBERING or (word in CAMERAS | PARTS and not re.search(r"\d", PurePosixPath(film).name))


def _alike(facts: Sequence[Facts], bound: float) -> list[tuple[int, int]]:
    """Return pairs of places whose thumbnails correlate; one whose grey levels hardly differ is like nothing."""
    joined = b"".join(one.thumb or bytes(THUMB**2) for one in facts)
    thumbs: NDArray[np.float32] = np.frombuffer(joined, np.uint8).reshape(-1, THUMB**2).astype(np.float32)
    spread = thumbs.std(1, keepdims=True)
    unit = (thumbs - thumbs.mean(1, keepdims=True)) / np.maximum(spread, 1e-6) / THUMB
    unit[spread[:, 0] < FLAT_LEVELS] = 0.0
    pairs: list[tuple[int, int]] = []
    for begin in range(0, len(unit), BLOCK):
        for other in range(begin, len(unit), BLOCK):
            rows, columns = np.nonzero(unit[begin : begin + BLOCK] @ unit[other : other + BLOCK].T >= bound)
            pairs += [(begin + i, other + j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True)]
    return [(one, other) for one, other in pairs if one < other]
