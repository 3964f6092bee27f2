"""Early stopping by the space's scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ikd.config import Recipe, SearchSpace
from ikd.sweep.schedulers.asha import AshaJudge
from ikd.sweep.schedulers.hyperband import HyperbandJudge
from ikd.sweep.schedulers.median import MedianJudge


class Judge(Protocol):
    """Says whether a trial goes on; its state is what it was told, in the order of the reports."""

    def judge(
        self, number: int, epoch: int, value: float, ends: Sequence[int], costs: Sequence[float] = ()
    ) -> str | None:  # fmt: skip
        """Note a report; return why the trial must stop, or None when it goes on."""

    def expected_share(self, number: int, ends: Sequence[int]) -> list[tuple[int, float]]:
        """Return how far a trial is expected to come: epochs, and the probability that it ends there."""


def build_judge(space: SearchSpace, recipe: Recipe) -> Judge | None:
    """Return the judge of a space's scheduler, None when nothing is stopped early.

    Args:
        space: resolved, as `SearchSpace.checked` returns it.
        recipe: its base.
    """
    scheduler, mode, sequences = space.scheduler, space.objective.mode, space.stage_ends(recipe)
    if scheduler.asha is not None:
        return AshaJudge(scheduler.asha, mode, sequences)
    if scheduler.hyperband is not None:
        return HyperbandJudge(scheduler.hyperband, mode, max(ends[-1] for ends in sequences))
    return MedianJudge(scheduler.median, mode) if scheduler.median is not None else None


def expected_epochs(judge: Judge | None, number: int, ends: Sequence[int]) -> float:
    """Return the epochs that a trial is expected to train.

    Args:
        judge: None when nothing is stopped early.
        number: of the trial.
        ends: last epoch of each of its stages.
    """
    return float(ends[-1]) if judge is None else sum(epoch * p for epoch, p in judge.expected_share(number, ends))
