"""From the records of a sweep to the results that the effects model learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ikd.config import SearchSpace
from ikd.sweep.effects.coordinates import Coordinates
from ikd.sweep.effects.ends import counted, predicted_end
from ikd.sweep.effects.model import Told
from ikd.sweep.records.trials import TrialRecord

POINTS = 100.0
"""AP is 0..1 in the records and counted in points here, as in every table."""
MOST = 140
"""Above this many results stopped trials are left out first, then the oldest: the cost grows with the cube."""


def objective(space: SearchSpace, record: TrialRecord, epoch: int | None = None) -> float:
    """Return what a training counts with: the mean of its last two validations, in points, the larger the better.

    Args:
        space: says which metric, and which way is better.
        record: with reports.
        epoch: up to which reports are looked at; None is all.

    Returns:
        NaN when there is no finite report.
    """
    reports = [one for one in record.reports if epoch is None or one.epoch <= epoch]
    sign = 1.0 if space.objective.mode == "max" else -1.0
    return sign * POINTS * counted([one.metrics.get(space.objective.metric, math.nan) for one in reports])


def told_by(space: SearchSpace, ended: Sequence[TrialRecord], epochs: int) -> Told | None:
    """Return what trials that are over tell, None when none is finished.

    Finished ones tell their `objective`; stopped ones what the finished ones make them expect at the end, once there
    are four; diverged ones the worst of all these.

    Args:
        space: resolved.
        ended: points of the space, in order of number; lost ones left out.
        epochs: of a whole training, where the study does not say.
    """
    finished = [one for one in ended if one.state == "finished" and math.isfinite(objective(space, one))]
    if not finished:
        return None
    rows = [(one, objective(space, one), 0.0) for one in finished]
    rows += _predicted(space, finished, [one for one in ended if one.state == "stopped"], epochs)
    worst = min(value for _, value, _ in rows)
    rows += [(one, worst, 0.0) for one in ended if one.state == "diverged"]
    if len(rows) > MOST:
        rows = sorted(rows, key=lambda row: (row[0].state != "stopped", row[0].number))[-MOST:]
    values, least = (np.array([row[index] for row in rows], dtype=np.float64) for index in (1, 2))
    return Told(Coordinates.of(space, [row[0].values for row in rows]), values, least)


def _predicted(
    space: SearchSpace, finished: Sequence[TrialRecord], stopped: Sequence[TrialRecord], epochs: int
) -> list[tuple[TrialRecord, float, float]]:
    """Return stopped trials, the value expected at their ends, and its variance; those left out of which none is."""
    found = []
    for record in stopped:
        pairs = [(objective(space, one, record.epochs), objective(space, one)) for one in finished]
        total = record.total_epochs(epochs)
        end = predicted_end(pairs, objective(space, record), epoch=record.epochs, total=total)
        if end is not None:
            found.append((record, *end))
    return found
