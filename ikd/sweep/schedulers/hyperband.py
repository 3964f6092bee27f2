"""HyperBand with asynchronous brackets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from ikd.config import Hyperband, Recipe, SearchSpace
from ikd.sweep.schedulers.asha import Halving, powers


class HyperbandJudge(Halving):
    """Successive halving in every bracket from `grace_epochs` to the whole training (Li et al. 2018, algorithm 1).

    With r = grace_epochs, R = epochs of a trial and eta = reduction_factor, bracket s of s_max = floor(log_eta(R / r))
    down to 0 has its first rung at R / eta^s in the paper; here at r eta^(s_max - s), which is the same when R / r is a
    power of eta, so that all brackets share their rungs. Bracket 0 stops nothing. The paper fills bracket s with
    n_s = ceil((s_max + 1) / (s + 1) eta^s) trials, one bracket after the other; here trials are dealt by their number
    in these proportions, and each bracket halves on its own whenever a trial reaches a rung.

    Args:
        settings: of the scheduler.
        mode: `max` or `min`.
        epochs: of a whole trial.
    """

    NAME = "HyperBand"

    def __init__(self, settings: Hyperband, mode: str, epochs: int) -> None:
        super().__init__(settings.reduction_factor, mode, by="objective")
        self._grace = settings.grace_epochs
        ratio = max(1.0, epochs / settings.grace_epochs)
        self._eager = math.floor(math.log(ratio) / math.log(self._factor) + 1e-9)
        self._deal = cache(self._dealt)

    @property
    def sizes(self) -> tuple[int, ...]:
        """n_s of every bracket, s from 0 to s_max."""
        top = self._eager + 1
        return tuple(math.ceil(top / (s + 1) * self._factor**s - 1e-9) for s in range(top))

    def _dealt(self) -> tuple[int, ...]:
        """Return the bracket of each trial of one round: always the one furthest behind its share, the eager first."""
        sizes = np.array(self.sizes, dtype=np.float64)
        given = np.zeros_like(sizes)
        order: list[int] = []
        for trial in range(1, int(sizes.sum()) + 1):
            behind = sizes * trial / sizes.sum() - given
            bracket = len(sizes) - 1 - int(np.argmax(np.round(behind[::-1], 9)))
            given[bracket] += 1
            order.append(bracket)
        return tuple(order)

    def bracket(self, number: int) -> int:
        """Return s of a trial, from 0 (never stopped) to s_max (judged first at grace_epochs)."""
        order = self._deal()
        return order[number % len(order)]

    def rivals(self, number: int) -> int:
        """Return how many trials before one are of its bracket."""
        order = self._deal()
        rounds, rest = divmod(number, len(order))
        return rounds * order.count(order[rest]) + order[:rest].count(order[rest])

    def rungs(self, number: int, ends: Sequence[int]) -> list[int]:
        """Return the epochs at which a trial is judged, ascending."""
        bracket = self.bracket(number)
        return powers(self._grace, self._factor, ends[-1], skip=self._eager - bracket)[:bracket]


def hyperband_judge(space: SearchSpace, recipe: Recipe) -> HyperbandJudge:
    """Return the judge of a space whose scheduler is `hyperband`."""
    hyperband = space.scheduler.hyperband
    assert hyperband is not None
    return HyperbandJudge(hyperband, space.objective.mode, max(ends[-1] for ends in space.stage_ends(recipe)))
