"""Configurations that no other one beats in what is expected of its objective and in every cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ikd.sweep.confirm.standing import Configuration, Standing
from ikd.sweep.records.pareto import fronts


def losses(known: Standing) -> NDArray[np.float64]:
    """Return [N, 1 + number of costs] float64, everything the smaller the better; NaN for what was not measured.

    The first column is what is expected of the objective, not what was seen; a cost is the mean over the trainings.
    """
    names = known.space.costs
    rows = [(-one.mean, *one.costs(names)) for one in known.configurations]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 1 + len(names))


def pareto_front(known: Standing) -> list[Configuration]:
    """Return the configurations that no other one beats in everything, the best expected first.

    Trials stopped early are left out: they are cheap because they were stopped. Without costs the front is the choice.
    """
    sorted_ = fronts(losses(known))
    return [known.configurations[index] for index in sorted_[0]] if sorted_ else []


def front_first(known: Standing) -> list[Configuration]:
    """Return the configurations, the best expected first; with costs the Pareto front stands before the others."""
    if not known.space.costs:
        return list(known.configurations)
    front = {one.number for one in pareto_front(known)}
    return sorted(known.configurations, key=lambda one: one.number not in front)


def knee(known: Standing) -> Configuration | None:
    """Return the configuration of the front nearest to the ideal point, None when there is no front.

    The ideal point has the best of the front in each objective; every objective is scaled to 0..1 over the front
    (compromise programming, Zeleny 1973, with the Euclidean distance).
    """
    front = [one.number for one in pareto_front(known)]
    if not front:
        return None
    own = [one for one in known.configurations if one.number in front]
    points = losses(known)[[one.number in front for one in known.configurations]]
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled = (points - low) / np.where(span > 0, span, 1.0)
    return own[int(np.argmin(np.linalg.norm(scaled, axis=1)))]
