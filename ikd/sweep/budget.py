"""What a sweep has spent of what it may spend, and whether it has what it wants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ikd.config import SearchSpace
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.trials import TrialRecord, best_of
from ikd.trial import OPEN


def spent_budget(space: SearchSpace, records: Sequence[TrialRecord], wall_seconds: float, gpus: float) -> str | None:
    """Return which limit is reached, for people, or None.

    The number of trials is no such limit: it ends a sweep without stopping what runs.

    Args:
        space: holds budget and objective.
        records: all trials.
        wall_seconds: time spent by the clock, over all starts.
        gpus: GPUs a trial.
    """
    budget = space.budget
    spent: list[tuple[str, float | None, Callable[[], float], str]] = [
        ("wall_hours", budget.wall_hours, lambda: wall_seconds / 3600, "h by the clock"),
        ("gpu_hours", budget.gpu_hours, lambda: ledger(records).total * gpus / 3600, "GPU-hours"),
        ("epochs", budget.epochs, lambda: sum(record.epochs for record in records), "epochs"),
    ]
    for name, limit, used, unit in spent:
        if limit is not None and used() >= limit:
            return f"budget.{name} of {limit:g} {unit} is spent"
    return _reached(space, records) or _exhausted(space, records)


def seconds_left(
    space: SearchSpace, records: Sequence[TrialRecord], wall_seconds: float, gpus: float, slots: int
) -> float:
    """Return for how many seconds, over all places of a runner, the hours of the budget last; infinite without any.

    Args:
        space: holds the budget.
        records: all trials.
        wall_seconds: time spent by the clock, over all starts.
        gpus: GPUs a trial.
        slots: places of the runner.
    """
    budget, left = space.budget, math.inf
    if budget.wall_hours is not None:
        left = (budget.wall_hours * 3600 - wall_seconds) * slots
    if budget.gpu_hours is not None and gpus:
        left = min(left, budget.gpu_hours * 3600 / gpus - ledger(records).total)
    return left


def _reached(space: SearchSpace, records: Sequence[TrialRecord]) -> str | None:
    target, mode = space.budget.target, space.objective.mode
    best = best_of(records, mode)
    if target is None or best is None or best.metric is None:
        return None
    if (best.metric < target) if mode == "max" else (best.metric > target):
        return None
    return f"budget.target is reached: trial {best.number} has {100 * best.metric:.1f} of {100 * target:.1f}"


def _exhausted(space: SearchSpace, records: Sequence[TrialRecord]) -> str | None:
    """Tell whether the latest `patience` trials to end brought nothing; anchors set the best but do not count."""
    patience, mode = space.budget.patience, space.objective.mode
    if patience is None:
        return None
    ended = sorted((one for one in records if one.state not in OPEN), key=lambda one: (one.ended, one.number))
    best, in_vain = None, 0
    for record in ended:
        if better := _beats(record, best, mode):
            best = record.metric
        in_vain = 0 if better else in_vain + (not record.anchors and record.role == "search")
    return f"budget.patience: {in_vain} trials in a row without a new best" if in_vain >= patience else None


def _beats(record: TrialRecord, best: float | None, mode: str) -> bool:
    if record.metric is None or record.state == "diverged":
        return False
    return best is None or (record.metric > best if mode == "max" else record.metric < best)
