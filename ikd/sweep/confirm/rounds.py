"""Where a sweep is: in its search, its repeats, or at the trainings kept apart. Found from the records alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ikd.config import Recipe, SearchSpace, shares_of
from ikd.sweep.records.trials import Role, TrialRecord, best_of
from ikd.trial import OPEN

Closed = Literal["", "patience", "target"]
"""A limit of `budget` that ends a search, and not what confirms it."""


@dataclass(frozen=True)
class Round:
    """A search, its repeats, and what was kept apart then; a sweep that is extended has another one.

    Attributes:
        records: its trials so far.
        search: trials that its search has at most.
        repeats: trainings that choose.
        apart: trainings kept apart of each side.
        sides: the chosen configuration, and an anchor where the space has one to beat.
        closed: limit of the budget that has ended its search before its trials were spent; empty where none has.
    """

    records: Sequence[TrialRecord]
    search: int
    repeats: int
    apart: int
    sides: int
    closed: Closed

    @property
    def kept(self) -> int:
        """Trainings kept apart, of both sides."""
        return self.apart * self.sides

    @property
    def confirming(self) -> int:
        """Trainings besides the search."""
        return self.repeats + self.kept

    def count(self, role: Role) -> int:
        """Return how many of its trials have a role."""
        return sum(one.role == role for one in self.records)

    def ended(self, role: Role) -> int:
        """Return how many of its trials of a role are over."""
        return sum(one.role == role and one.state not in OPEN for one in self.records)


@dataclass(frozen=True)
class Ahead:
    """Trials that are still to be begun, at most: the search may end before.

    Attributes:
        search: that find, anchors included.
        repeats: that choose.
        apart: that are kept apart, of both sides.
    """

    search: int
    repeats: int = 0
    apart: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.search + self.repeats + self.apart

    def at_most(self, count: int) -> Ahead:
        """Return so many of them, at most, of each kind as many as before in proportion."""
        if self.total <= count:
            return self
        repeats, apart = (one * count // self.total for one in (self.repeats, self.apart))
        return Ahead(count - repeats - apart, repeats, apart)


def round_of(space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord]) -> Round:
    """Return the round that the next trial belongs to.

    How many trainings are kept apart is settled with the first of them: another budget changes it no more.

    Args:
        space: resolved.
        recipe: the base.
        records: every trial.
    """
    shares, start = shares_of(space, recipe.total_epochs), _starts(records)[-1]
    own = records[start:]
    room = max(0, space.budget.trials - start)
    trainings = min(float(room), epochs_left(space, records[:start]) / recipe.total_epochs)
    least = 1 + (0 if start else len(space.anchors))
    apart = shares.apart if trainings - shares.apart * shares.sides >= least else 0
    apart = next((one.kept // shares.sides for one in own if one.kept), apart)
    repeats = min(round(shares.repeats * trainings), max(0, int(trainings) - apart * shares.sides - least))
    closed = _closed(space, records, start)
    return Round(own, room - repeats - apart * shares.sides, repeats, apart, shares.sides, closed)


def closed_for_good(space: SearchSpace, records: Sequence[TrialRecord]) -> Closed:
    """Return the limit that ended the search of a whole round that lies behind, if no trial came after that round.

    Then the sweep is over, as the same command again finds it; a larger limit begins another round.
    """
    starts = _starts(records)
    return _closed(space, records, starts[-2]) if len(starts) > 1 and starts[-1] == len(records) else ""


def _starts(records: Sequence[TrialRecord]) -> list[int]:
    """Return the numbers of the trials with which rounds begin: after all that was to be kept apart before."""
    starts, kept = [0], 0
    for number, one in enumerate(records):
        kept += one.role == "apart"
        if one.kept and kept >= one.kept:
            starts.append(number + 1)
            kept = 0
    return starts


def _closed(space: SearchSpace, records: Sequence[TrialRecord], start: int) -> Closed:
    """Return the limit that has ended the search of the round that begins at `start`.

    Both are told by trials that have ended: what one that runs has seen may be gone in its next epoch. They end a
    search alone, since what a single training has seen is partly luck: what it was worth the rest of the sweep tells.
    """
    if _target_reached(space, records):
        return "target"
    return "patience" if _in_vain(space, records, start) else ""


def _target_reached(space: SearchSpace, records: Sequence[TrialRecord]) -> bool:
    target, mode = space.budget.target, space.objective.mode
    if target is None:
        return False
    best = best_of([one for one in records if one.state not in OPEN], mode)
    if best is None or best.metric is None:
        return False
    return best.metric >= target if mode == "max" else best.metric <= target


def _in_vain(space: SearchSpace, records: Sequence[TrialRecord], start: int) -> bool:
    """Tell whether `patience` trials in a row brought no new best in the round that begins at `start`, once at least.

    Trials of the search alone count, and anchors set the best but are none of them.
    """
    patience, mode = space.budget.patience, space.objective.mode
    if patience is None:
        return False
    searched = [one for one in records if one.role == "search" and one.state not in OPEN]
    best, in_vain = None, 0
    for record in sorted(searched, key=lambda one: (one.ended, one.number)):
        if better := _beats(record, best, mode):
            best = record.metric
        if record.number >= start:
            in_vain = 0 if better else in_vain + (not record.anchors)
        if in_vain >= patience:
            return True
    return False


def _beats(record: TrialRecord, best: float | None, mode: str) -> bool:
    if record.metric is None or record.state == "diverged":
        return False
    return best is None or (record.metric > best if mode == "max" else record.metric < best)


def epochs_left(space: SearchSpace, records: Sequence[TrialRecord]) -> float:
    """Return how many epochs the budget has besides those of some trials; infinite without such a limit."""
    limit = space.budget.epochs
    return math.inf if limit is None else max(0.0, limit - sum(one.epochs for one in records))


def ahead_of(space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], size: float = math.inf) -> Ahead:
    """Return what is still to be begun.

    Args:
        space: resolved.
        recipe: the base.
        records: every trial.
        size: trials that try everything there is, anchors included.
    """
    now = round_of(space, recipe, records)
    if closed_for_good(space, records):
        return Ahead(0)
    searched, kept = now.count("search"), now.count("apart")
    left = size - sum(one.role == "search" for one in records)
    search = 0 if kept or now.closed else int(max(0, min(now.search - searched, left)))
    if not search + searched:  # nothing that could be confirmed
        return Ahead(0)
    return Ahead(search, 0 if kept else max(0, now.repeats - now.count("repeat")), max(0, now.kept - kept))


def said_of_phase(space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord]) -> str:
    """Return in which phase a sweep is and what is left, for people; empty where there is nothing but its search."""
    now, ahead = round_of(space, recipe, records), ahead_of(space, recipe, records)
    if records and records[-1].role == "apart" and not ahead.search:
        starts = _starts(records)
        last = [one for one in records[starts[-1 if now.records else -2] :] if one.role == "apart"]
        return f"kept apart: {sum(one.state not in OPEN for one in last)} of {last[0].kept} trainings"
    if not now.confirming:
        acts = shares_of(space, recipe.total_epochs).acts and len(records) > len(now.records)
        return f"search: {now.ended('search')} of {now.search} trials, too few to keep any apart" if acts else ""
    kept = f"{now.kept} trainings kept apart"
    if not (ahead.search or ahead.repeats):
        return f"kept apart: 0 of {now.kept} trainings"
    if not ahead.search or (records and records[-1].role == "repeat"):
        return f"repeats: {now.ended('repeat')} of {now.repeats}" + (f"; then {kept}" if now.kept else "")
    then = [f"{now.repeats} repeat{'s' * (now.repeats > 1)}"] * bool(now.repeats) + [kept] * bool(now.kept)
    return f"search: {now.ended('search')} of {now.search} trials; then {' and '.join(then)}"
