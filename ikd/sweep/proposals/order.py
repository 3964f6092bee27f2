"""What is tried next: those who may propose are asked in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ikd.config import Recipe, SearchSpace
from ikd.sweep.proposals.anchors import anchors_left
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.trials import Proposal, TrialRecord

Proposer = Callable[[Sequence[TrialRecord]], Proposal | None]
"""Given every trial so far, returns the next one, or None when it has none to propose."""


class Order:
    """The proposers of a sweep.

    Args:
        *proposers: the first that has a proposal is followed.
    """

    def __init__(self, *proposers: Proposer) -> None:
        self._proposers = proposers

    def next(self, records: Sequence[TrialRecord]) -> Proposal | None:
        """Return the next trial after `records`, or None when nobody has one to propose."""
        asked = (propose_next(records) for propose_next in self._proposers)
        return next((proposal for proposal in asked if proposal is not None), None)


def order_of(space: SearchSpace, recipe: Recipe, earlier: Sequence[TrialRecord]) -> Order:
    """Return who proposes in a sweep: the anchors, then the search.

    Args:
        space: what is searched, resolved.
        recipe: the base.
        earlier: trials of another sweep that the search learns from.
    """
    anchors = anchors_left(space, recipe)

    def search(records: Sequence[TrialRecord]) -> Proposal | None:
        return propose(space, recipe, records, earlier=earlier)

    return Order(anchors, search)
