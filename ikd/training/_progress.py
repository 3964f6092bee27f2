"""How far a trial is: its best epoch, its files, what it reports."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ikd.errors import CheckpointError
from ikd.training._checkpoint import Content, load

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
    """Best epoch so far and where files go."""

    directory: Path
    metric: str
    mode: str
    classes: tuple[str, ...]
    fingerprint: str
    best_epoch: int = 0
    best_metrics: Metrics = field(default_factory=dict)

    @property
    def last(self) -> Path:
        """File to resume from."""
        return self.directory / "last.pth"

    @property
    def best(self) -> Path:
        """Student of the best epoch."""
        return self.directory / "best.pth"

    def improves(self, metrics: Metrics) -> bool:
        """Tell whether `metrics` beat the best epoch; a later equal epoch does not, NaN never does."""
        value, best = metrics.get(self.metric, math.nan), self.best_metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return not self.best_metrics
        return math.isnan(best) or (value > best if self.mode == "max" else value < best)


def resume_from(path: Path, progress: Progress) -> Content:
    """Load a checkpoint of the same recipe, and put the log back to its epoch.

    Raises:
        CheckpointError: unreadable, or written by another recipe.
    """
    content = load(path)
    if content.get("fingerprint") != progress.fingerprint:
        raise CheckpointError(f"{path}: must belong to this recipe; it was written by a recipe that trains differently")
    progress.best_epoch, progress.best_metrics = content["best_epoch"], content["best_metrics"]
    log = progress.directory / "log.jsonl"
    if log.is_file():
        kept = [line for line in log.read_text().splitlines() if _epoch_of(line) <= content["epoch"]]
        log.write_text("".join(line + "\n" for line in kept))
    return content


def _epoch_of(line: str) -> float:
    try:
        return float(json.loads(line)["epoch"])
    except (ValueError, KeyError):
        return math.inf  # a line cut short by a crash


Report = Callable[[EpochReport], None]
"""Called once after each validation; may raise `StopTrial`."""
