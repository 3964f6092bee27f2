"""What a trial trains differently, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ikd.config import Recipe
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.folder import flat

IDLE = ("name", "description")


def recipe_of(base: Recipe, record: TrialRecord) -> Recipe:
    """Return the recipe that a trial trains.

    Raises:
        ConfigError: its values go no longer with the base.
    """
    return base.anchor(record.anchors[0]) if record.anchors else base.with_values(record.values)


def differences(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the fields by dotted name that differ, with both values; None where a recipe has no such field."""
    before, after = flat(one.as_dict()), flat(other.as_dict())
    names = [name for name in {**before, **after} if before.get(name) != after.get(name) and name not in IDLE]
    return {name: (before.get(name), after.get(name)) for name in names}


def recipe_changes(base: Recipe, record: TrialRecord) -> Mapping[str, tuple[Any, Any]]:
    """Return the fields in which a trial differs from its sweep's recipe, with both values."""
    return differences(base, recipe_of(base, record))


def curve_of(record: TrialRecord, metric: str) -> list[tuple[int, float]]:
    """Return a metric of a trial by epoch, where it was measured."""
    return [(report.epoch, report.metrics[metric]) for report in record.reports if metric in report.metrics]
