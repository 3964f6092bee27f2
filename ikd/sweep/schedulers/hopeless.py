"""Stopping what can hardly come among the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ikd.config import Hopeless, Recipe, SearchSpace
from ikd.sweep.effects.ends import counted, predicted_end
from ikd.sweep.records.text import apart

STOPPED = 1 / 3
"""Share of the trials that is expected to stop somewhere, before any has."""


class HopelessJudge:
    """Stops a trial whose predicted end and some deviations of the prediction's errors lie below the best few.

    The end is predicted as the effects model has it of stopped trials (`predicted_end`), from the others that have
    finished by then. The state is what `judge` was told.

    Args:
        settings: of the scheduler.
        mode: `max` or `min`.
    """

    def __init__(self, settings: Hopeless, mode: str) -> None:
        self._settings = settings
        self._sign = 1.0 if mode == "max" else -1.0
        self._seen: dict[int, dict[int, float]] = {}  # trial number -> epoch -> value, the larger the better
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
        self._seen.setdefault(number, {})[epoch] = self._sign * value
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
        """Return what a trial counts with at an epoch, None is the last."""
        return counted([value for at, value in self._seen[number].items() if epoch is None or at <= epoch])


def hopeless_judge(space: SearchSpace, recipe: Recipe) -> HopelessJudge:
    """Return the judge of a space whose scheduler is `hopeless`."""
    hopeless = space.scheduler.hopeless
    assert hopeless is not None
    return HopelessJudge(hopeless, space.objective.mode)
