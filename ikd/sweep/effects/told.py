"""From the records of a sweep to the results that the effects model learns from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ikd.config import SearchSpace
from ikd.sweep.effects.coordinates import Axes
from ikd.sweep.effects.ends import predicted_end
from ikd.sweep.effects.model import Told
from ikd.sweep.records.trials import TrialRecord, counted

POINTS = 100.0
"""AP is 0..1 in the records and counted in points here, as in every table."""
MOST = 140
"""Above this many results stopped trials are left out first, then the oldest: the cost grows with the cube."""
DOUBT = 0.7
"""Variance that a value from another sweep has besides, as a share of that of the sweep's values."""


class _Row(NamedTuple):
    record: TrialRecord
    value: float
    least: float = 0.0
    extra: float = 0.0


def objective(space: SearchSpace, record: TrialRecord, epoch: int | None = None) -> float:
    """Return what a training counts with (see `counted`), in points, the larger the better.

    Args:
        space: says which metric, and which way is better.
        record: with reports.
        epoch: up to which reports are looked at; None is all.

    Returns:
        NaN when there is no finite report.
    """
    reports = [one for one in record.reports if epoch is None or one.epoch <= epoch]
    value = counted(reports, space.objective)
    sign = 1.0 if space.objective.mode == "max" else -1.0
    return sign * POINTS * value if value is not None else math.nan


def told_by(
    space: SearchSpace,
    ended: Sequence[TrialRecord],
    epochs: int,
    earlier: Sequence[TrialRecord] = (),
    axes: Axes | None = None,
) -> Told | None:
    """Return what trials that are over tell, None when none is finished.

    Finished ones tell their `objective`; stopped ones what the finished ones make them expect at the end, once there
    are four; diverged ones the worst of all these. Those of another sweep tell how they differ from the mean of their
    sweep, as if that were the mean of these, with `DOUBT` of their variance besides: the level of another sweep says
    nothing here, and its effects may be others.

    Args:
        space: resolved.
        ended: points of the space, in order of number; lost ones left out.
        epochs: of a whole training, where the study does not say.
        earlier: trials of other sweeps, each with the name of its own; they may lack parameters.
        axes: of the space, where they are at hand.
    """
    own = _rows(space, ended, epochs)
    level = float(np.mean([row.value for row in own])) if own else 0.0
    rows = []
    for name in dict.fromkeys(one.name for one in earlier):
        theirs = _rows(space, [one for one in earlier if one.name == name], epochs)
        values = [row.value for row in theirs] or [0.0]
        mean, doubt = float(np.mean(values)), DOUBT * float(np.var(values))
        rows += [row._replace(value=row.value - mean + level, extra=doubt) for row in theirs]
    rows += own
    if not rows:
        return None
    if len(rows) > MOST:
        later = {id(row.record) for row in own}
        rows = sorted(rows, key=lambda one: (one.record.state != "stopped", id(one.record) in later, one.record.number))
        rows = rows[-MOST:]
    points = (axes or Axes(space)).coordinates([row.record.values for row in rows], lacking=bool(earlier))
    value, least, extra = np.array([row[1:] for row in rows], dtype=np.float64).T
    return Told(points, value, least, extra)


def _rows(space: SearchSpace, ended: Sequence[TrialRecord], epochs: int) -> list[_Row]:
    """Return what the trials of one sweep tell; nothing when none is finished."""
    finished = [one for one in ended if one.state == "finished" and math.isfinite(objective(space, one))]
    if not finished:
        return []
    rows = [_Row(one, objective(space, one)) for one in finished]
    rows += _predicted(space, finished, [one for one in ended if one.state == "stopped"], epochs)
    worst = min(row.value for row in rows)
    return [*rows, *(_Row(one, worst) for one in ended if one.state == "diverged")]


def _predicted(
    space: SearchSpace, finished: Sequence[TrialRecord], stopped: Sequence[TrialRecord], epochs: int
) -> list[_Row]:
    """Return stopped trials, the value expected at their ends, and its variance; those left out of which none is."""
    found = []
    for record in stopped:
        pairs = [(objective(space, one, record.epochs), objective(space, one)) for one in finished]
        total = record.total_epochs(epochs)
        end = predicted_end(pairs, objective(space, record), epoch=record.epochs, total=total)
        if end is not None:
            found.append(_Row(record, *end))
    return found
