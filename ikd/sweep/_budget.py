"""What a sweep has spent of what it may spend."""

from __future__ import annotations

from collections.abc import Sequence

from ikd.config import Budget
from ikd.sweep._records import TrialRecord


def spent_budget(budget: Budget, records: Sequence[TrialRecord], wall_seconds: float, gpus: float) -> str | None:
    """Return which limit is reached, for people, or None.

    The number of trials is no such limit: it ends a sweep without stopping what runs.

    Args:
        budget: the limits.
        records: all trials.
        wall_seconds: time spent by the clock, over all starts.
        gpus: GPUs a trial.
    """
    gpu_hours = sum(record.seconds for record in records) * gpus / 3600
    spent = {
        "wall_hours": (wall_seconds / 3600, budget.wall_hours, "h by the clock"),
        "gpu_hours": (gpu_hours, budget.gpu_hours, "GPU-hours"),
        "epochs": (sum(record.epochs for record in records), budget.epochs, "epochs"),
    }
    for name, (used, limit, unit) in spent.items():
        if limit is not None and used >= limit:
            return f"budget.{name} of {limit:g} {unit} is spent"
    return None
