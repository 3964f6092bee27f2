"""Sorting points into fronts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fronts(points: NDArray[np.float64]) -> list[list[int]]:
    """Sort points into fronts: the first is dominated by nothing, the second by the first alone, and so on.

    Args:
        points: [N, M], the smaller the better; a row with NaN is on no front.

    Returns:
        Indices of each front, ascending (non-dominated sorting, Deb et al. 2002).
    """
    left = [index for index in range(len(points)) if np.isfinite(points[index]).all()]
    found: list[list[int]] = []
    while left:
        rows = points[left]
        # dominated[i]: some j is nowhere worse and somewhere better
        nowhere_worse: NDArray[np.bool_] = np.all(rows[None, :, :] <= rows[:, None, :], axis=2)
        somewhere_better: NDArray[np.bool_] = np.any(rows[None, :, :] < rows[:, None, :], axis=2)
        dominated: list[bool] = np.any(nowhere_worse & somewhere_better, axis=1).tolist()
        found.append([index for index, beaten in zip(left, dominated, strict=True) if not beaten])
        left = [index for index, beaten in zip(left, dominated, strict=True) if beaten]
    return found
