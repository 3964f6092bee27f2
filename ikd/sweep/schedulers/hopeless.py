"""Stopping what can hardly come among the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ikd.config import Hopeless, Objective, Recipe, SearchSpace
from ikd.sweep.effects.ends import predicted_end
from ikd.sweep.records.text import apart
from ikd.sweep.records.trials import Report, counted

STOPPED = 1 / 3
"""Share of the trials that is expected to stop somewhere, before any has."""


class HopelessJudge:
    """Stops a trial whose predicted end and some deviations of the prediction's errors lie below the best few.

    The end is predicted as the effects model has it of stopped trials (`predicted_end`), from the others that have
    finished by then. The state is what `judge` was told.

    Args:
        settings: of the scheduler.
        objective: says what of a trial's values counts, and which way is better.
    """

    def __init__(self, settings: Hopeless, objective: Objective) -> None:
        self._settings, self._objective = settings, objective
        self._sign = 1.0 if objective.mode == "max" else -1.0
        self._seen: dict[int, list[Report]] = {}
        self._finished: set[int] = set()

    def expected_share(self, number: int, ends: Sequence[int]) -> list[tuple[int, float]]:
        """Return a rough forecast: a third of the trials stops, at any epoch alike from where they may.

        Args:
            number: of the trial; the first `min_trials` have too few finished ones before them.
            ends: last epoch of each stage of the trial.
        """
        first, last = self._settings.grace_epochs, ends[-1]
        if number < self._settings.min_trials or first >= last:
            return [(last, 1.0)]
        return [*((epoch, STOPPED / (last - first)) for epoch in range(first, last)), (last, 1 - STOPPED)]

    def judge(
        self, number: int, epoch: int, value: float, ends: Sequence[int], costs: Sequence[float] = ()
    ) -> str | None:
        """Note a report; return why the trial must stop, or None when it goes on.

        Args:
            number: the trial.
            epoch: epochs finished, above those of its earlier reports.
            value: the objective at this epoch, finite.
            ends: last epoch of each stage of the trial.
            costs: not looked at.
        """
        reports = self._seen.setdefault(number, [])
        reports.append(Report(epoch, {self._objective.metric: value}, 0.0, len(reports)))
        if epoch >= ends[-1]:
            self._finished.add(number)
            return None
        if epoch < self._settings.grace_epochs or len(self._finished) < self._settings.min_trials:
            return None
        pairs = [(self._counted(one, epoch), self._counted(one)) for one in self._finished]
        found = predicted_end(pairs, self._counted(number, epoch), epoch=epoch, total=ends[-1])
        if found is None:
            return None
        end, error = found[0], math.sqrt(found[1])
        bar = sorted((late for _, late in pairs), reverse=True)[self._settings.rank - 1]
        highest = end + self._settings.deviations * error
        if highest >= bar:
            return None
        best, third = apart(self._sign * highest, self._sign * bar)
        rank = f"number {self._settings.rank} of {len(pairs)} finished"
        return f"hopeless at epoch {epoch}: at best {best} at its end, against {third} of {rank}"

    def _counted(self, number: int, epoch: int | None = None) -> float:
        """Return what a trial counts with at an epoch, None is the last; the larger the better."""
        value = counted([one for one in self._seen[number] if epoch is None or one.epoch <= epoch], self._objective)
        return math.nan if value is None else self._sign * value


def hopeless_judge(space: SearchSpace, recipe: Recipe) -> HopelessJudge:
    """Return the judge of a space whose scheduler is `hopeless`."""
    hopeless = space.scheduler.hopeless
    assert hopeless is not None
    return HopelessJudge(hopeless, space.objective)
