"""Early stopping by the space's scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ikd.config import Recipe, SearchSpace
from ikd.sweep.schedulers.asha import asha_judge
from ikd.sweep.schedulers.hopeless import hopeless_judge
from ikd.sweep.schedulers.hyperband import hyperband_judge
from ikd.sweep.schedulers.median import median_judge


class Judge(Protocol):
    """Says whether a trial goes on; its state is what it was told, in the order of the reports."""

    def judge(
        self, number: int, epoch: int, value: float, ends: Sequence[int], costs: Sequence[float] = ()
    ) -> str | None:
        """Note a report; return why the trial must stop, or None when it goes on."""

    def expected_share(self, number: int, ends: Sequence[int]) -> list[tuple[int, float]]:
        """Return how far a trial is expected to come: epochs, and the probability that it ends there."""


def no_judge(space: SearchSpace, recipe: Recipe) -> None:
    """Stop nothing early."""


def chosen_judge(space: SearchSpace, recipe: Recipe) -> Judge | None:
    """Return the judge of the scheduler that `auto` stands for, in a space that is not resolved."""
    return build_judge(space.stopped_by(recipe), recipe)


JUDGES: dict[str, Callable[[SearchSpace, Recipe], Judge | None]] = {
    "auto": chosen_judge,
    "asha": asha_judge,
    "hyperband": hyperband_judge,
    "median": median_judge,
    "hopeless": hopeless_judge,
    "pbt": no_judge,  # moves trials to other weights instead, see `population`
    "none": no_judge,
}
"""By their keys in the search-space file."""


def build_judge(space: SearchSpace, recipe: Recipe) -> Judge | None:
    """Return the judge of a space's scheduler, None when nothing is stopped early.

    Args:
        space: resolved, as `SearchSpace.checked` returns it.
        recipe: its base.
    """
    return JUDGES[space.scheduler.kind](space, recipe)


def expected_epochs(judge: Judge | None, number: int, ends: Sequence[int]) -> float:
    """Return the epochs that a trial is expected to train.

    Args:
        judge: None when nothing is stopped early.
        number: of the trial.
        ends: last epoch of each of its stages.
    """
    return float(ends[-1]) if judge is None else sum(epoch * p for epoch, p in judge.expected_share(number, ends))
