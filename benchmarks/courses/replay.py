"""Forecasts of recorded sweeps against what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.courses.recording import FOLDER, Recording
from ikd.sweep.confirm.rounds import ahead_of
from ikd.sweep.forecast.kept import Kept
from ikd.sweep.forecast.left import Outlook, Situation
from ikd.sweep.forecast.wants import sampled_recipes, size_of
from ikd.sweep.proposals.anchors import anchor_proposals

SHARE, WITHIN = 0.25, 0.25


@dataclass(frozen=True)
class Hit:
    """A forecast of a recorded sweep, part of the way.

    Attributes:
        name: of the recording.
        seconds: the whole took.
        left: seconds that were left.
        forecast: seconds that were said to be left; None when nothing could be said.
    """

    name: str
    seconds: float
    left: float
    forecast: float | None

    @property
    def off(self) -> float:
        """How far the forecast is from the truth, as a share of it; infinite without one."""
        return float("inf") if self.forecast is None else self.forecast / self.left - 1

    @property
    def holds(self) -> bool:
        """Whether it is as near as is asked for."""
        return abs(self.off) <= WITHIN


def situation(one: Recording, moment: float, kept: Kept | None = None) -> Situation:
    """Return a recorded sweep as its driver had it at a moment."""
    records, events = one.until(moment)
    sampled = sampled_recipes(one.files.space, one.files.recipe)
    return Situation(
        one.files,
        records,
        events,
        slots=one.files.runner.concurrency,
        ahead=ahead_of(one.files.space, one.files.recipe, records, _size(one)),
        now=moment,
        wall_seconds=one.spent(moment),
        sampled=sampled,
        kept=kept or Kept(),
    )


def forecast_at(file: Path, share: float = SHARE, kept: Kept | None = None) -> Hit:
    """Ask for the time left of a recorded sweep when this share of it had run."""
    one = Recording.load_from(file)
    moment = one.moment(share)
    found = Outlook(situation(one, moment, kept)).forecast()
    return Hit(file.stem, one.seconds, one.left(moment), found.seconds)


def recordings() -> list[Path]:
    """Return all recordings, the earliest first."""
    return sorted(FOLDER.glob("*.json"), key=lambda file: (Recording.load_from(file).began, file.name))


def kept_before(file: Path) -> Kept:
    """Return what the recorded sweeps before this one had shown of the machine, those over as many images."""
    one, kept = Recording.load_from(file), Kept()
    for path in recordings():
        other = Recording.load_from(path)
        if other.began < one.began and other.images == one.images:
            outlook = Outlook(situation(other, other.moment(1.0)))
            for row in outlook.rows(f"sweep {path.stem}", {}):
                kept.take(row)
    return kept


def _size(one: Recording) -> float:
    outside = sum(not anchor.in_space for anchor in anchor_proposals(one.files.space, one.files.recipe))
    return size_of(one.files.space, one.files.recipe, outside)
