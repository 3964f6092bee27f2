"""Trials that no other one beats in objective and every cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ikd.config import SearchSpace
from ikd.sweep.records.trials import TrialRecord, ranked


def losses(records: Sequence[TrialRecord], space: SearchSpace) -> NDArray[np.float64]:
    """Return [N, 1 + number of costs] float64, everything the smaller the better; NaN for what was not measured."""
    sign = -1.0 if space.objective.mode == "max" else 1.0
    rows = [(sign * (math.nan if r.metric is None else r.metric), *r.costs(space.costs)) for r in records]
    return np.array(rows, dtype=np.float64).reshape(len(records), 1 + len(space.costs))


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


def pareto_front(records: Sequence[TrialRecord], space: SearchSpace) -> list[TrialRecord]:
    """Return the finished trials that no other finished one beats in everything, best objective first.

    Trials stopped early are left out: they are cheap because they were stopped.
    """
    whole = [record for record in records if record.state == "finished"]
    sorted_ = fronts(losses(whole, space))
    return ranked([whole[index] for index in sorted_[0]], space.objective.mode) if sorted_ else []


def front_first(records: Sequence[TrialRecord], space: SearchSpace) -> list[TrialRecord]:
    """Return the trials with a result, best first; with costs the Pareto front stands before the others."""
    order = ranked(list(records), space.objective.mode)
    if not space.costs:
        return order
    front = [record.number for record in pareto_front(records, space)]
    return sorted(order, key=lambda record: record.number not in front)


def knee(records: Sequence[TrialRecord], space: SearchSpace) -> TrialRecord | None:
    """Return the trial of the front nearest to the ideal point, None when there is no front.

    The ideal point has the best of the front in each objective; every objective is scaled to 0..1 over the front
    (compromise programming, Zeleny 1973, with the Euclidean distance).
    """
    front = pareto_front(records, space)
    if not front:
        return None
    points = losses(front, space)
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled = (points - low) / np.where(span > 0, span, 1.0)
    return front[int(np.argmin(np.linalg.norm(scaled, axis=1)))]
