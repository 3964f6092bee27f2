"""Which checkpoints of a sweep stay on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ikd.config import Recipe, SearchSpace, shares_of
from ikd.sweep.confirm.front import front_first, knee
from ikd.sweep.confirm.standing import Standing
from ikd.sweep.records.trials import TrialRecord, ranked
from ikd.trial import OPEN, TrialFolder

CHECKPOINTS_OPEN = 3
"""Of a trial that still trains: best.pth, last.pth and the one before it."""
CHECKPOINTS_ENDED = 2
"""Of an ended trial that is kept: best.pth and last.pth."""
SPARE = 5
"""Configurations beyond `keep_top` that keep theirs, at most, because they may still prove the best."""
MAY_WIN = 0.01
"""They are the best of all with at least this probability."""


def without_place(
    records: Sequence[TrialRecord], known: Standing | None, mode: str, keep_top: int | None
) -> list[TrialRecord]:
    """Return the ended trials whose checkpoints go: all but anchors and the trainings of the best configurations.

    Best are those of the largest expected objective, with costs first those of the Pareto front, `keep_top` of them,
    and up to `SPARE` others that may still prove the best: what is expected changes with every trial, and a checkpoint
    that has gone does not come back. Each keeps all its trainings but those kept apart: which of them is exported may
    change too. Before as many configurations have finished, the best other trials fill the places.

    Args:
        records: every trial.
        known: of them; None while none has finished.
        mode: of the objective.
        keep_top: None keeps all.
    """
    if keep_top is None:
        return []
    found = known.configurations if known is not None else ()
    kept = _leading(known, keep_top) if known is not None else set[int]()
    finished = {training.number for one in found for training in one.trainings}
    others = [one for one in ranked(records, mode) if not one.anchors and one.number not in finished]
    places = max(0, keep_top - sum(not one.trainings[0].anchors for one in found))
    kept |= {one.number for one in [one for one in others if one.state not in OPEN][:places]}
    ended = [one for one in records if one.state not in OPEN]
    return [one for one in ended if not one.anchors and one.number not in kept]


def _leading(known: Standing, keep_top: int) -> set[int]:
    """Return the trainings of the configurations that keep theirs; anchors, which do anyhow, take no place."""
    order = [one for one in front_first(known) if not one.trainings[0].anchors]
    rest = sorted(order[keep_top:], key=lambda one: (-known.chances[one.number], one.number))
    spare = [one for one in rest[:SPARE] if known.chances[one.number] >= MAY_WIN]
    anchors = [one for one in known.configurations if one.trainings[0].anchors]
    leading = {one.number for one in (known.chosen, *order[:keep_top], *spare, *anchors)}
    if (best := knee(known) if known.space.costs else None) is not None:
        leading.add(best.number)
    return {training.number for one in known.configurations if one.number in leading for training in one.trainings}


def tidied(
    space: SearchSpace,
    keep_top: int | None,
    remove: Callable[[int], None],
    known: Callable[[Sequence[TrialRecord]], Standing | None],
) -> Callable[[Sequence[TrialRecord]], None]:
    """Return what a conductor calls when a trial has ended: it removes what no longer has a place.

    Args:
        space: what is searched.
        keep_top: how many configurations besides the anchors keep their checkpoints; None is all.
        remove: removes the checkpoints of a trial wherever they lie; its log stays.
        known: returns what is believed of the configurations of some trials.
    """
    gone: set[int] = set()

    def tidy(records: Sequence[TrialRecord]) -> None:
        for record in records:
            if record.state not in OPEN:
                TrialFolder(record.directory).previous.unlink(missing_ok=True)  # there to survive a torn last.pth
        if keep_top is None:
            return
        for record in without_place(records, known(records), space.objective.mode, keep_top):
            if record.number not in gone:
                remove(record.number)
                gone.add(record.number)

    return tidy


def most_checkpoints(space: SearchSpace, recipe: Recipe, *, keep_top: int | None, slots: int, anchors: int) -> int:
    """Return how many checkpoints a sweep has on disk at most.

    Args:
        space: what is searched.
        recipe: the base.
        keep_top: configurations, anchors besides, that keep theirs with all their trainings; None is all.
        slots: trials at once.
        anchors: anchor trials.
    """
    trials, epochs = min(space.budget.trials, space.budget.epochs or space.budget.trials), recipe.total_epochs
    seeds = space.sampler.grid.repeats if space.sampler.grid is not None else 1
    repeats = round(shares_of(space, epochs).repeats * space.budget.trainings(epochs))
    ended = trials if keep_top is None else min(trials, (keep_top + SPARE) * seeds + repeats + anchors)
    total = CHECKPOINTS_ENDED * ended + CHECKPOINTS_OPEN * min(slots, trials)
    pbt = space.scheduler.pbt
    return total + (trials * ((recipe.total_epochs - 1) // pbt.interval_epochs) if pbt is not None else 0)
