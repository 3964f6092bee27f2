"""Asynchronous successive halving, judged from the study's reports alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ikd.config import Asha, Recipe, SearchSpace
from ikd.sweep.records.pareto import fronts
from ikd.sweep.records.text import apart


class Halving(ABC):
    """Lets at each of some epochs ("rungs") only the best 1 / `factor` of a bracket go on.

    A trial is compared at equal epochs, with what every other one of its bracket had at that epoch; the first goes on
    whatever it is worth. The state is what `judge` was told; feeding it the recorded reports in their order rebuilds it
    after a restart.

    Args:
        factor: one in this many goes on, above 1.
        mode: `max` or `min`.
        by: `objective`, or `nondominated` to compare fronts of objective and costs.
    """

    NAME = ""

    def __init__(self, factor: float, mode: str, *, by: str) -> None:
        self._factor, self._by = factor, by
        self._sign = 1.0 if mode == "max" else -1.0
        # trial number -> epoch -> objective (the larger the better) and costs (the smaller the better)
        self._seen: dict[int, dict[int, tuple[float, ...]]] = {}

    @abstractmethod
    def bracket(self, number: int) -> int:
        """Return the bracket of a trial; brackets are not compared with each other."""

    @abstractmethod
    def rivals(self, number: int) -> int:
        """Return how many trials before one are of its bracket."""

    @abstractmethod
    def rungs(self, number: int, ends: Sequence[int]) -> list[int]:
        """Return the epochs at which a trial is judged, ascending.

        Args:
            number: of the trial.
            ends: last epoch of each of its stages, ascending; the last one ends the trial.
        """

    def expected_share(self, number: int, ends: Sequence[int]) -> list[tuple[int, float]]:
        """Return how far a trial comes when its order among others is chance: epochs, probability to end there.

        The cut is a percentile of its m rivals at a rung, so that (m / factor + 1 - 1 / factor) / (m + 1) of all go on:
        half of those with one rival, whatever the factor.

        Args:
            number: of the trial; those before it of its bracket, as far as they come, are its rivals.
            ends: as in `rungs`.
        """
        rivals = float(self.rivals(number))
        share, found = 1.0, []
        for rung in self.rungs(number, ends):
            goes_on = self._goes_on(rivals)
            found.append((rung, share * (1 - goes_on)))
            share, rivals = share * goes_on, rivals * goes_on
        return [*found, (ends[-1], share)]

    def _goes_on(self, rivals: float) -> float:
        """Return the share that goes on with so many rivals, an expected number: below one it is the chance of one."""
        if rivals < 1:
            return 1 - rivals / 2
        return (rivals / self._factor + 1 - 1 / self._factor) / (rivals + 1)

    def judge(
        self, number: int, epoch: int, value: float, ends: Sequence[int], costs: Sequence[float] = ()
    ) -> str | None:
        """Note a report; return why the trial must stop, or None when it goes on.

        A rung between two reports takes effect at the later one.

        Args:
            number: the trial.
            epoch: epochs finished, above those of its earlier reports.
            value: the objective at this epoch, finite.
            ends: last epoch of each stage of the trial.
            costs: at this epoch; NaN counts as the highest.
        """
        own = self._seen.setdefault(number, {})
        before = max(own, default=0)
        own[epoch] = (self._sign * value, *np.nan_to_num(costs, nan=np.inf, posinf=np.inf))
        due = [rung for rung in self.rungs(number, ends) if before < rung <= epoch]
        rivals = self._rivals(number, epoch, due[-1]) if due else []
        if not rivals:
            return None
        verdict = self._beaten(own[epoch], rivals) if self._by == "nondominated" else self._below(own[epoch], rivals)
        return f"{self.NAME} at epoch {epoch}: {verdict}" if verdict else None

    def _below(self, own: tuple[float, ...], rivals: list[tuple[float, ...]]) -> str | None:
        cut = float(np.percentile([rival[0] for rival in rivals], 100 * (1 - 1 / self._factor)))
        if own[0] >= cut:
            return None
        return " against a cut of ".join(apart(self._sign * own[0], self._sign * cut))

    def _beaten(self, own: tuple[float, ...], rivals: list[tuple[float, ...]]) -> str | None:
        """Sort by front, equal fronts by the objective; as many may be better as above the percentile of `_below`."""
        points = np.array([own, *rivals]) * np.array([-1.0, *[1.0] * (len(own) - 1)])
        rank = {index: place for place, front in enumerate(fronts(np.nan_to_num(points))) for index in front}
        better = sum((rank[i], points[i, 0]) < (rank[0], points[0, 0]) for i in range(1, len(points)))
        allowed = int((len(rivals) - 1) / self._factor)
        if better <= allowed:
            return None
        return f"on front {rank[0] + 1} and behind {better} of {len(rivals)}, of which {allowed} may be better"

    def _rivals(self, number: int, epoch: int, rung: int) -> list[tuple[float, ...]]:
        """Return what the others of the bracket had at `epoch`, or else at their first report from the rung on."""
        bracket = self.bracket(number)
        others = [seen for n, seen in self._seen.items() if n != number and self.bracket(n) == bracket]
        at = [epoch if epoch in seen else min((one for one in seen if one >= rung), default=0) for seen in others]
        return [seen[one] for seen, one in zip(others, at, strict=True) if one]


class AshaJudge(Halving):
    """Asynchronous successive halving (Li et al. 2020, stopping variant).

    The rungs of a trial follow from the ends of its own stages, but it is always compared at equal epochs: another
    teacher or another loss at that time is part of what is compared. Of several brackets, trial N uses number N modulo
    brackets, which has its first rungs left out.

    Args:
        settings: of the scheduler.
        mode: `max` or `min`.
        sequences: ends of the stages of every sequence in the space; a trial of one stage is judged by them.
    """

    NAME = "ASHA"

    def __init__(self, settings: Asha, mode: str, sequences: Sequence[Sequence[int]] = ()) -> None:
        super().__init__(settings.reduction_factor, mode, by=settings.by)
        self._settings = settings
        inner = [tuple(ends[:-1]) for ends in sequences if len(ends) > 1]
        self._inner = sorted({end for ends in inner for end in ends})
        self._earliest = min((ends[0] for ends in inner), default=0)

    def bracket(self, number: int) -> int:
        """Return the bracket of a trial."""
        return number % self._settings.brackets

    def rivals(self, number: int) -> int:
        """Return how many trials before one are of its bracket."""
        return number // self._settings.brackets

    def rungs(self, number: int, ends: Sequence[int]) -> list[int]:
        """Return the epochs at which a trial is judged, ascending."""
        own = list(ends[:-1]) if len(ends) > 1 else self._inner
        first = own[0] if len(ends) > 1 else self._earliest
        start = self._settings.grace_epochs + (first if self._settings.first_stage_grace else 0)
        bracket = self.bracket(number)
        if self._settings.rungs == "geometric":
            return powers(start, self._factor, ends[-1], skip=bracket)
        marks = [end for end in own if end >= start]
        if self._settings.first_stage_grace:
            marks = sorted({start, *marks})
        return [mark for mark in marks if mark < ends[-1]][bracket:]


def asha_judge(space: SearchSpace, recipe: Recipe) -> AshaJudge:
    """Return the judge of a space whose scheduler is `asha`."""
    asha = space.scheduler.asha
    assert asha is not None
    return AshaJudge(asha, space.objective.mode, space.stage_ends(recipe))


def powers(start: int, factor: float, last: int, *, skip: int = 0) -> list[int]:
    """Return start times factor^skip, factor^(skip + 1) ... below `last`, rounded, each once."""
    epochs: list[int] = []
    step = skip
    while (epoch := round(start * factor**step)) < last:
        epochs.append(epoch)
        step += 1
    return sorted(set(epochs))
