"""The same for many things, several at a time: reading, hashing and decoding release the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

One = TypeVar("One")
Made = TypeVar("Made")
_AT_ONCE = 64  # handing over a single one takes as long as decoding a small image


def in_threads(function: Callable[[One], Made], things: Sequence[One]) -> Iterator[Made]:
    """Yield what `function` returns for each of `things`, in their order."""
    pieces = [things[start : start + _AT_ONCE] for start in range(0, len(things), _AT_ONCE)]
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for made in pool.map(lambda piece: [function(one) for one in piece], pieces):
            yield from made
