"""What things took on this machine, kept for the forecasts of later sweeps."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ikd.errors import DiskFull
from ikd.files import append, parsed
from ikd.home import cache
from ikd.sweep.forecast.epochs import Features, Seen

ROWS = 1000
"""The latest that are read."""
LATEST = 5
"""How many sweeps' parts count."""
LEAST_PART = 0.01
"""Seconds that any part takes, so that parts can be compared by ratio."""


@dataclass
class Kept:
    """What was measured here before.

    Attributes:
        epochs: kinds of epochs.
        parts: seconds of the parts of a sweep that train nothing, by name: the geometric mean of the latest.
        units: seconds of one epoch or image of shared things, by their item, and by their kind alone.
        checkpoint_bytes: of the largest checkpoint of a student, by its features.
        sources: where epochs were measured, by the features of their student.
        took: each part, the latest last.
    """

    epochs: list[Seen] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)
    checkpoint_bytes: dict[str, int] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)

    def take(self, row: Mapping[str, Any]) -> None:
        """Take in a row; a later one counts, and of parts, which vary by a half from start to start, some together."""
        if "epoch" in row:
            features = dict(row["epoch"])
            self.epochs.append(Seen({**features, "when": row["source"]}, float(row["seconds"]), float(row["count"])))
            self.sources[features["student"]] = str(row["source"])
            if "bytes" in row:
                self.checkpoint_bytes[features["student"]] = int(row["bytes"])
        elif "part" in row:
            name, seconds = str(row["part"]), max(float(row["seconds"]), LEAST_PART)
            latest = self.took[name] = [*self.took.get(name, ()), seconds][-LATEST:]
            self.parts[name] = statistics.geometric_mean(latest)
        elif "unit" in row:
            for name in (str(row["unit"]), str(row["unit"]).split()[0]):
                self.units[name] = float(row["seconds"])


def place() -> Path:
    """Return the file of this machine."""
    return cache("costs") / f"{platform.node() or 'machine'}-{os.cpu_count()}.jsonl"


def read_kept() -> Kept:
    """Return what is known of this machine; lines that say nothing are passed over."""
    found, file = Kept(), place()
    lines = file.read_text(errors="replace").splitlines()[-ROWS:] if file.is_file() else []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            found.take(parsed(line))
    return found


def epoch_row(
    features: Features, seconds: float, *, source: str, count: float = 1.0, checkpoint_bytes: int = 0
) -> dict[str, Any]:
    """Return the row of a kind of epoch.

    Args:
        features: what it was, without `when`.
        seconds: of one.
        source: of the measurement, for people.
        count: how many were seen.
        checkpoint_bytes: of the largest checkpoint that it left; 0 where that was not looked at.
    """
    row = {"epoch": dict(features), "seconds": round(seconds, 3), "count": count, "source": source}
    return row | ({"bytes": checkpoint_bytes} if checkpoint_bytes else {})


def keep(rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows for later; a full disk is no reason to stop anything."""
    text = "".join(json.dumps(dict(row)) + "\n" for row in rows)
    with contextlib.suppress(OSError, DiskFull):
        place().parent.mkdir(parents=True, exist_ok=True)
        append(place(), text)
