"""The median stopping rule."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ikd.config import Median, Recipe, SearchSpace
from ikd.sweep.records.text import apart

LATER = 0.2
"""Share that stops where the first epoch is not judged: 0.1 and 0.3 in random orders of benchmarks/recorded."""


class MedianJudge:
    """Stops a trial whose best so far is below the median of the others' running averages (Golovin et al. 2017, 3.2.2).

    The others are those that have reported by its epoch and reached it; the average of each is over its reports up to
    there. The state is what `judge` was told.

    Args:
        settings: of the scheduler.
        mode: `max` or `min`.
    """

    def __init__(self, settings: Median, mode: str) -> None:
        self._settings = settings
        self._sign = 1.0 if mode == "max" else -1.0
        self._seen: dict[int, dict[int, float]] = {}  # trial number -> epoch -> value, the larger the better

    def expected_share(self, number: int, ends: Sequence[int]) -> list[tuple[int, float]]:
        """Return a rough forecast: a part of the trials stops where it may first, and the others go on.

        At the first epoch averages are values, and half of all lie below the median; later they lag behind what rises,
        and few do.

        Args:
            number: of the trial; the first `min_trials` have too few others.
            ends: last epoch of each stage of the trial.
        """
        first, last = self._settings.grace_epochs, ends[-1]
        if number < self._settings.min_trials or first >= last:
            return [(last, 1.0)]
        stopped = 0.5 if first == 1 else LATER
        return [(first, stopped), (last, 1 - stopped)]

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
        own = self._seen.setdefault(number, {})
        own[epoch] = self._sign * value
        averages = [
            statistics.fmean(one for at, one in seen.items() if at <= epoch)
            for other, seen in self._seen.items()
            if other != number and min(seen) <= epoch <= max(seen)
        ]
        if epoch < self._settings.grace_epochs or epoch >= ends[-1] or len(averages) < self._settings.min_trials:
            return None
        best, median = max(own.values()), statistics.median(averages)
        if best >= median:
            return None
        shown = " against a median of ".join(apart(self._sign * best, self._sign * median))
        return f"median rule at epoch {epoch}: best {shown} over {len(averages)} others"


def median_judge(space: SearchSpace, recipe: Recipe) -> MedianJudge:
    """Return the judge of a space whose scheduler is `median`."""
    median = space.scheduler.median
    assert median is not None
    return MedianJudge(median, space.objective.mode)
