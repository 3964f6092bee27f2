"""What is tried next: those who may propose are asked in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ikd.config import Recipe, SearchSpace
from ikd.sweep.confirm.phases import Pause, Phases
from ikd.sweep.proposals.anchors import anchors_left
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.trials import Proposal, TrialRecord

Proposer = Callable[[Sequence[TrialRecord]], Proposal | Pause | None]
"""Given every trial so far, returns the next one, None when it has none to propose, or why there is none now."""


class Order:
    """The proposers of a sweep.

    Args:
        *proposers: the first that has a proposal is followed.
    """

    def __init__(self, *proposers: Proposer) -> None:
        self._proposers = proposers

    def next(self, records: Sequence[TrialRecord]) -> Proposal | Pause | None:
        """Return the next trial after `records`, None when nobody has one to propose, or why there is none now."""
        asked = (propose_next(records) for propose_next in self._proposers)
        return next((proposal for proposal in asked if proposal is not None), None)


def order_of(
    space: SearchSpace,
    recipe: Recipe,
    earlier: Sequence[TrialRecord],
    places: Callable[[Sequence[TrialRecord]], float] = lambda records: math.inf,
) -> Order:
    """Return who proposes in a sweep: the anchors, the search, and what confirms it.

    Args:
        space: what is searched, resolved.
        recipe: the base.
        earlier: trials of another sweep that the search learns from.
        places: of the runner: for how many seconds they are left by the budget's hours, given all records.
    """
    anchors = anchors_left(space, recipe)
    phases = Phases(space, recipe, earlier, places)

    def search(records: Sequence[TrialRecord]) -> Proposal | None:
        return propose(space, recipe, records, earlier=earlier)

    return Order(anchors, phases.after_search, search, phases.exhausted)
