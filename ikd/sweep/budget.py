"""What a sweep has spent of what it may spend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ikd.config import SearchSpace
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.trials import TrialRecord


def spent_budget(space: SearchSpace, records: Sequence[TrialRecord], wall_seconds: float, gpus: float) -> str | None:
    """Return which limit is reached, for people, or None.

    The number of trials, patience and the target are no such limits: they end a search without stopping what runs.

    Args:
        space: holds the budget.
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
    return None


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
