"""Asynchronous successive halving, judged from the study's reports alone."""

from __future__ import annotations

import numpy as np

from ikd.config import Asha


class AshaJudge:
    """Decides at geometric epochs ("rungs") whether a trial goes on (Li et al. 2020, stopping variant).

    The state is what `judge` was told; feeding it the recorded reports in their order rebuilds it after a restart.
    A trial is compared with those that reached the same rung before it: it goes on when it is among the best
    1 / `reduction_factor` of them, and when it is the first. Of several brackets, trial N uses number N modulo
    brackets, whose first rung lies one factor later each.
    """

    def __init__(self, settings: Asha, max_epochs: int, mode: str) -> None:
        self._settings, self._max_epochs = settings, max_epochs
        self._sign = 1.0 if mode == "max" else -1.0
        self._seen: dict[tuple[int, int], dict[int, float]] = {}  # (bracket, rung) -> trial number -> value

    def rungs(self, number: int) -> list[int]:
        """Return the epochs at which trial `number` is judged, ascending."""
        bracket, factor = number % self._settings.brackets, self._settings.reduction_factor
        epochs: list[int] = []
        step = bracket
        while (epoch := round(self._settings.grace_epochs * factor**step)) < self._max_epochs:
            epochs.append(epoch)
            step += 1
        return sorted(set(epochs))

    def judge(self, number: int, epoch: int, value: float) -> str | None:
        """Note a report; return why the trial must stop, or None when it goes on.

        Args:
            number: the trial.
            epoch: epochs finished.
            value: the objective at this epoch, finite.
        """
        bracket = number % self._settings.brackets
        for rung in reversed(self.rungs(number)):
            seen = self._seen.setdefault((bracket, rung), {})
            if epoch < rung or number in seen:
                continue
            rivals = list(seen.values())
            seen[number] = self._sign * value
            if not rivals:
                return None
            cut = float(np.percentile(rivals, 100 * (1 - 1 / self._settings.reduction_factor)))
            if self._sign * value >= cut:
                return None
            return f"ASHA at epoch {epoch}: {100 * value:.1f} against a cut of {100 * self._sign * cut:.1f}"
        return None
