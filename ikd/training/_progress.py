"""How far a trial is: its best epoch, its files, what it reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ikd.training._checkpoint import LAST, PREVIOUS

Metrics = dict[str, float]


class StopTrial(Exception):
    """Raised by a report callback to end the trial here, cleanly."""


@dataclass(frozen=True)
class EpochReport:
    """What a trial reports after each validation.

    Attributes:
        epoch: epochs finished, from 1.
        metrics: by name, in the units of the metric tables (AP in 0..1).
        checkpoint: file from which the trial can be continued at this epoch.
    """

    epoch: int
    metrics: Metrics
    checkpoint: Path


@dataclass
class Progress:
    """Best epoch so far, what every report says besides, and where files go.

    Attributes:
        directory: of the trial.
        metric: that decides the best epoch.
        mode: `max` or `min`.
        classes: of the data set.
        fingerprint: of the recipe.
        keep_epochs: epochs whose checkpoint stays are multiples of this, before the last; None keeps none.
        costs: of the student, the same in every report.
        best_epoch: from 1; 0 before the first.
        best_metrics: of that epoch.
    """

    directory: Path
    metric: str
    mode: str
    classes: tuple[str, ...]
    fingerprint: str
    keep_epochs: int | None = None
    costs: Metrics = field(default_factory=dict)
    best_epoch: int = 0
    best_metrics: Metrics = field(default_factory=dict)

    @property
    def last(self) -> Path:
        """File to resume from."""
        return self.directory / LAST

    @property
    def previous(self) -> Path:
        """What `last` was one validation earlier, in case that one is damaged."""
        return self.directory / PREVIOUS

    @property
    def best(self) -> Path:
        """Student of the best epoch."""
        return self.directory / "best.pth"

    @property
    def log(self) -> Path:
        """Metrics of every validated epoch, one JSON line each."""
        return self.directory / "log.jsonl"

    def improves(self, metrics: Metrics) -> bool:
        """Tell whether `metrics` beat the best epoch; a later equal epoch does not, NaN never does."""
        value, best = metrics.get(self.metric, math.nan), self.best_metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return not self.best_metrics
        return math.isnan(best) or (value > best if self.mode == "max" else value < best)

    def note(self, epoch: int, metrics: Metrics) -> bool:
        """Take an epoch for the best one if it is; tell whether it was."""
        if not self.improves(metrics):
            return False
        self.best_epoch, self.best_metrics = epoch, metrics
        return True


Report = Callable[[EpochReport], None]
"""Called once after each validation; may raise `StopTrial`."""
