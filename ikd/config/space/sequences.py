"""Teacher sequences as something to search: which teachers, how many, in which order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Literal

import pydantic

from ikd.config.section import Count, Section

LISTED_SEQUENCES = 1000
"""More sequences than this are no choice anybody could search."""


class Sequences(Section):
    """Every legal order of some teachers; at most three in a row have paid in the papers."""

    of: tuple[str, ...]
    """Names under `teachers.available`."""
    length: tuple[Count, Count] | None = None
    """Fewest and most teachers of a sequence; null is 1 to all of them."""
    order: Literal["weak_to_strong", "any"] = "weak_to_strong"
    """weak_to_strong: `ap` of the teachers rises along the sequence; any: every order."""
    repeat: bool = False
    """Whether a teacher may come again; needs order any."""

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Sequences:
        if not self.of or len(set(self.of)) != len(self.of):
            raise ValueError(f"of must name at least one teacher and none twice, and is {list(self.of)}")
        if self.repeat and self.order != "any":
            raise ValueError("repeat needs order: any, because no AP rises from a teacher to itself")
        low, high = self.bounds
        if low > high:
            raise ValueError(f"length must be [fewest, most] with fewest not above most, and is [{low}, {high}]")
        if high > len(self.of) and not self.repeat:
            raise ValueError(f"length must be at most {len(self.of)}, the number of teachers in of, and is {high}")
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """Fewest and most teachers of a sequence."""
        return self.length or (1, len(self.of))

    def listed(self, ap: Mapping[str, float | None]) -> list[list[str]]:
        """Return the sequences, the shorter ones first, at most one more than `LISTED_SEQUENCES`.

        Args:
            ap: mAP of each teacher in `of`, on any one scale; used for weak_to_strong, where none may be None.
        """
        low, high = self.bounds
        every = (one for length in range(low, high + 1) for one in self._of_length(length, ap))
        return [list(one) for one in itertools.islice(every, LISTED_SEQUENCES + 1)]

    def _of_length(self, length: int, ap: Mapping[str, float | None]) -> Iterator[tuple[str, ...]]:
        if self.repeat:
            return itertools.product(self.of, repeat=length)
        if self.order == "any":
            return itertools.permutations(self.of, length)
        known = {name: value for name in self.of if (value := ap[name]) is not None}
        chains = itertools.combinations(sorted(known, key=lambda name: known[name]), length)
        return (chain for chain in chains if all(known[a] < known[b] for a, b in itertools.pairwise(chain)))
