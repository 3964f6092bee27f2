"""What a trial trains differently, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ikd.config import Recipe, differences
from ikd.sweep.records.trials import TrialRecord


def recipe_of(base: Recipe, record: TrialRecord) -> Recipe:
    """Return the recipe that a trial trains.

    Raises:
        ConfigError: its values go no longer with the base.
    """
    return base.anchor(record.anchors[0]) if record.anchors else base.with_values(record.values)


def recipe_changes(base: Recipe, record: TrialRecord) -> Mapping[str, tuple[Any, Any]]:
    """Return the fields in which a trial differs from its sweep's recipe, with both values."""
    return differences(base, recipe_of(base, record))


def curve_of(record: TrialRecord, metric: str) -> list[tuple[int, float]]:
    """Return a metric of a trial by epoch, where it was measured."""
    return [(report.epoch, report.metrics[metric]) for report in record.reports if metric in report.metrics]
