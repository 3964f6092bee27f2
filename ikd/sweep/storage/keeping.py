"""Which checkpoints of a sweep stay on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ikd.config import Recipe, SearchSpace
from ikd.sweep.records.pareto import front_first
from ikd.sweep.records.trials import TrialRecord
from ikd.trial import OPEN, TrialFolder

CHECKPOINTS_OPEN = 3
"""Of a trial that still trains: best.pth, last.pth and the one before it."""
CHECKPOINTS_ENDED = 2
"""Of an ended trial that is kept: best.pth and last.pth."""


def without_place(records: Sequence[TrialRecord], space: SearchSpace, keep_top: int | None) -> list[TrialRecord]:
    """Return the ended trials whose checkpoints go: all but anchors and the best `keep_top` others.

    With costs the Pareto front comes first, the best objective of it before all.
    """
    if keep_top is None:
        return []
    order = [record for record in front_first(records, space) if not record.anchors and record.state not in OPEN]
    kept = {record.number for record in order[:keep_top]}
    return [one for one in records if one.state not in OPEN and not one.anchors and one.number not in kept]


def tidied(
    space: SearchSpace, keep_top: int | None, remove: Callable[[int], None]
) -> Callable[[Sequence[TrialRecord]], None]:
    """Return what a conductor calls when a trial has ended: it removes what no longer has a place.

    Args:
        space: what is searched.
        keep_top: how many ended trials besides the anchors keep their checkpoints; None is all.
        remove: removes the checkpoints of a trial wherever they lie; its log stays.
    """
    gone: set[int] = set()

    def tidy(records: Sequence[TrialRecord]) -> None:
        for record in records:
            if record.state not in OPEN:
                TrialFolder(record.directory).previous.unlink(missing_ok=True)  # there to survive a torn last.pth
        for record in without_place(records, space, keep_top):
            if record.number not in gone:
                remove(record.number)
                gone.add(record.number)

    return tidy


def most_checkpoints(space: SearchSpace, recipe: Recipe, *, keep_top: int | None, slots: int, anchors: int) -> int:
    """Return how many checkpoints a sweep has on disk at most.

    Args:
        space: what is searched.
        recipe: the base.
        keep_top: ended trials, anchors besides, that keep theirs; None is all.
        slots: trials at once.
        anchors: anchor trials.
    """
    trials = space.budget.trials
    ended = trials if keep_top is None else min(trials, keep_top + anchors)
    total = CHECKPOINTS_ENDED * ended + CHECKPOINTS_OPEN * min(slots, trials)
    pbt = space.scheduler.pbt
    return total + (trials * ((recipe.total_epochs - 1) // pbt.interval_epochs) if pbt is not None else 0)
