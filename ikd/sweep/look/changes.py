"""How a trial went, epoch by epoch."""

from __future__ import annotations

from ikd.sweep.records.trials import TrialRecord


def curve_of(record: TrialRecord, metric: str) -> list[tuple[int, float]]:
    """Return a metric of a trial by epoch, where it was measured."""
    return [(report.epoch, report.metrics[metric]) for report in record.reports if metric in report.metrics]
