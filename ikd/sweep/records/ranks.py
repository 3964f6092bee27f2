"""How well two rankings agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST = 6
"""From fewer trainings no rank correlation is told: by chance it is anything."""


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the rank correlation of two lists of equal length (Spearman 1904): 1 is the same order, -1 the opposite.

    Equal values share the mean of their ranks. None where all values of a list are equal: it ranks nothing.
    """
    first, second = _ranks(one), _ranks(other)
    if len(first) < 2 or not first.std() or not second.std():
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    known = np.asarray(values, dtype=np.float64)
    below = (known[:, None] > known[None]).sum(1)
    return below + ((known[:, None] == known[None]).sum(1) - 1) / 2.0
