"""What a sweep trains after its search: repeats, then trainings kept apart. Found from the records alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum

import numpy as np

from ikd.config import RIVALS, Recipe, SearchSpace, shares_of
from ikd.sweep.confirm.apart import strongest_anchor
from ikd.sweep.confirm.gradient import knowledge_gradient
from ikd.sweep.confirm.rounds import Closed, Round, closed_for_good, epochs_left, round_of
from ikd.sweep.confirm.standing import Configuration, Standing, standing
from ikd.sweep.records.trials import Proposal, Role, TrialRecord, recipe_of
from ikd.trial import OPEN

FIRST_APART = 1000
"""Distance of the seeds of trainings kept apart from that of the recipe."""


class Pause(Enum):
    """Why no trial is proposed; the values are for people."""

    LATER = "what runs must end first"
    NOTHING = "no trial of the search has finished, so that there is nothing to repeat or to keep apart"
    FULL = "what the sweep has found is confirmed, and its budget holds no further search"
    IN_VAIN = "budget.patience: so many trials in a row brought no new best; a larger patience searches on"
    TARGET = "budget.target: a trial of the search has reached it; a higher one searches on"


CLOSED: Mapping[Closed, Pause] = {"patience": Pause.IN_VAIN, "target": Pause.TARGET}


class Phases:
    """Proposes what comes after the search of a sweep: repeats, then trainings kept apart.

    Args:
        space: resolved.
        recipe: the base.
        earlier: trials of other sweeps that the search learns from.
        places: of the runner: for how many seconds they are left by the budget's hours, given all records.
    """

    def __init__(
        self,
        space: SearchSpace,
        recipe: Recipe,
        earlier: Sequence[TrialRecord] = (),
        places: Callable[[Sequence[TrialRecord]], float] = lambda records: math.inf,
    ) -> None:
        self._space, self._recipe, self._earlier, self._places = space, recipe, earlier, places

    def searching(self, records: Sequence[TrialRecord]) -> bool:
        """Tell whether the next trial is one of the search's."""
        now = round_of(self._space, self._recipe, records)
        if now.closed:
            return False
        if not now.confirming:
            return True
        if now.count("apart") or now.count("search") >= now.search:
            return False
        return not now.count("search") or self._holds(records, 1 + now.confirming - now.count("repeat"))

    def _holds(self, records: Sequence[TrialRecord], trainings: int) -> bool:
        """Tell whether the budget's epochs and hours hold so many more trainings beside those that are open."""
        total = self._recipe.total_epochs
        committed = sum(one.total_epochs(total) - one.epochs for one in records if one.state in OPEN)
        if epochs_left(self._space, records) - committed < trainings * total:
            return False
        held = [one.held for one in records if one.state == "finished" and one.held]
        if not held or not math.isfinite(left := self._places(records)):
            return True
        return left >= (trainings + sum(one.state in OPEN for one in records)) * sum(held) / len(held)

    def after_search(self, records: Sequence[TrialRecord]) -> Proposal | Pause | None:
        """Return the next trial after the search, None while it is not over, or why there is none now."""
        now = round_of(self._space, self._recipe, records)
        shares = shares_of(self._space, self._recipe.total_epochs)
        closed = closed_for_good(self._space, records) or ("" if now.confirming else now.closed)
        if closed:
            return CLOSED[closed]
        if not now.records and records and not self._holds(records, 1 + shares.apart * shares.sides):
            return Pause.FULL
        return None if self.searching(records) else self._confirm(records)

    def exhausted(self, records: Sequence[TrialRecord]) -> Proposal | Pause | None:
        """Return the next trial where the search has nothing left to try; None when what it has found is confirmed."""
        now = round_of(self._space, self._recipe, records)
        return self._confirm(records) if now.confirming and now.count("search") else None

    def _confirm(self, records: Sequence[TrialRecord]) -> Proposal | Pause:
        now = round_of(self._space, self._recipe, records)
        if now.count("repeat") < now.repeats and not now.count("apart"):
            return self._repeat(records)
        return self._apart(records, now)

    def _repeat(self, records: Sequence[TrialRecord]) -> Proposal | Pause:
        known = standing(self._space, self._recipe, records, earlier=self._earlier)
        if known is None:
            return _waits(records)
        one = most_worth(known)
        again = sum(record.role == "repeat" and record.of == one.number for record in records)
        return self._again(records, one.trainings[0], "repeat", again + 1)

    def _apart(self, records: Sequence[TrialRecord], now: Round) -> Proposal | Pause:
        """Return a training that is kept apart: chosen configuration and anchor in turn, pairwise with equal seeds."""
        mine = [one for one in now.records if one.role == "apart"]
        before = [one for one in records[: len(records) - len(now.records)] if one.role == "apart"]
        seeds = [int(one.values["seed"]) for one in before]
        first = FIRST_APART if not seeds else 1 + max(seeds) - self._recipe.seed
        chosen, anchor = self._sides(records, mine)
        wanted = [(chosen, now.apart if anchor is not None else now.kept), (anchor, now.apart)]
        counted = [
            (sum(one.of == side.number for one in mine), side, most) for side, most in wanted if side is not None
        ]
        for count, side, most in sorted(counted, key=lambda row: row[0]):
            if count < most:
                return self._again(records, side, "apart", first + count, kept=now.kept)
        return _waits(records)

    def _sides(
        self, records: Sequence[TrialRecord], mine: Sequence[TrialRecord]
    ) -> tuple[TrialRecord | None, TrialRecord | None]:
        """Return the first trainings of both sides; of the chosen one None while something may change the choice.

        What is kept apart already says which they are: later records do not change it. Meanwhile the anchor has its
        turn. Where an anchor is the choice there is nothing to compare it with.
        """
        firsts = [records[one.of] for one in mine if one.of is not None]
        anchor = next((one for one in firsts if set(one.anchors) & set(RIVALS)), None)
        chosen = next((one for one in firsts if anchor is None or one.number != anchor.number), None)
        if chosen is None and any(one.state in OPEN and one.role != "apart" for one in records):
            if not any(one.role == "search" and one.in_space and one.state == "finished" for one in records):
                return None, None  # there may never be a choice; `standing` says it better, but is asked all the time
        elif chosen is None:
            known = standing(self._space, self._recipe, records, earlier=self._earlier)
            if known is None:
                return None, None
            chosen = known.chosen.trainings[0]
        if anchor is None and not (chosen is not None and set(chosen.anchors) & set(RIVALS)):
            anchor = strongest_anchor(self._space, records)
        if chosen is not None and anchor is not None and chosen.number == anchor.number:
            anchor = None
        return chosen, anchor

    def _again(
        self, records: Sequence[TrialRecord], first: TrialRecord, role: Role, more: int, *, kept: int = 0
    ) -> Proposal:
        values = {**first.values, "seed": self._recipe.seed + more}
        probe = replace(first, role=role, of=first.number, values=values)
        return Proposal(values, recipe_of(probe, records, self._recipe), (), False, role, first.number, kept)


def most_worth(known: Standing) -> Configuration:
    """Return the configuration whose next training is expected to improve the choice most.

    Repeats that run count as done, at what is expected of them.
    """
    means = np.array([one.mean for one in known.configurations])
    variances = np.array([1 / (1 / one.variance + one.running / known.pooled) for one in known.configurations])
    return known.configurations[int(np.argmax(knowledge_gradient(means, variances, known.pooled)))]


def _waits(records: Sequence[TrialRecord]) -> Pause:
    return Pause.LATER if any(one.state in OPEN for one in records) else Pause.NOTHING
