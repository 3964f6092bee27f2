"""Asynchronous successive halving, judged from the study's reports alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ikd.config import Asha


class AshaJudge:
    """Decides at some epochs ("rungs") whether a trial goes on (Li et al. 2020, stopping variant).

    The rungs of a trial follow from the ends of its own stages, but a trial is always compared at equal epochs, with
    what every other one had at that epoch: another teacher or another loss at that time is part of what is compared.
    It goes on when it is among the best 1 / `reduction_factor`, and when it is the first. Of several brackets, trial N
    uses number N modulo brackets, which has its first rungs left out; brackets are not compared with each other.

    The state is what `judge` was told; feeding it the recorded reports in their order rebuilds it after a restart.

    Args:
        settings: of the scheduler.
        mode: `max` or `min`.
        sequences: ends of the stages of every sequence in the space; a trial of one stage is judged by them.
    """

    def __init__(self, settings: Asha, mode: str, sequences: Sequence[Sequence[int]] = ()) -> None:
        self._settings = settings
        self._sign = 1.0 if mode == "max" else -1.0
        inner = [tuple(ends[:-1]) for ends in sequences if len(ends) > 1]
        self._inner = sorted({end for ends in inner for end in ends})
        self._earliest = min((ends[0] for ends in inner), default=0)
        self._seen: dict[int, dict[int, float]] = {}  # trial number -> epoch -> value, the larger the better

    def rungs(self, number: int, ends: Sequence[int]) -> list[int]:
        """Return the epochs at which a trial is judged, ascending.

        Args:
            number: of the trial.
            ends: last epoch of each of its stages, ascending; the last one ends the trial.
        """
        own = list(ends[:-1]) if len(ends) > 1 else self._inner
        first = own[0] if len(ends) > 1 else self._earliest
        start = self._settings.grace_epochs + (first if self._settings.first_stage_grace else 0)
        bracket = number % self._settings.brackets
        if self._settings.rungs == "geometric":
            return self._powers(start, bracket, ends[-1])
        marks = [end for end in own if end >= start]
        if self._settings.first_stage_grace:
            marks = sorted({start, *marks})
        return [mark for mark in marks if mark < ends[-1]][bracket:]

    def _powers(self, start: int, bracket: int, last: int) -> list[int]:
        epochs: list[int] = []
        step = bracket
        while (epoch := round(start * self._settings.reduction_factor**step)) < last:
            epochs.append(epoch)
            step += 1
        return sorted(set(epochs))

    def judge(self, number: int, epoch: int, value: float, ends: Sequence[int]) -> str | None:
        """Note a report; return why the trial must stop, or None when it goes on.

        A rung between two reports takes effect at the later one.

        Args:
            number: the trial.
            epoch: epochs finished, above those of its earlier reports.
            value: the objective at this epoch, finite.
            ends: last epoch of each stage of the trial.
        """
        own = self._seen.setdefault(number, {})
        before = max(own, default=0)
        own[epoch] = self._sign * value
        due = [rung for rung in self.rungs(number, ends) if before < rung <= epoch]
        rivals = self._rivals(number, epoch, due[-1]) if due else []
        if not rivals:
            return None
        cut = float(np.percentile(rivals, 100 * (1 - 1 / self._settings.reduction_factor)))
        if own[epoch] >= cut:
            return None
        return f"ASHA at epoch {epoch}: {100 * value:.1f} against a cut of {100 * self._sign * cut:.1f}"

    def _rivals(self, number: int, epoch: int, rung: int) -> list[float]:
        """Return what the others of the bracket had at `epoch`, or else at their first report from the rung on."""
        brackets = self._settings.brackets
        others = [seen for n, seen in self._seen.items() if n != number and n % brackets == number % brackets]
        at = [epoch if epoch in seen else min((one for one in seen if one >= rung), default=0) for seen in others]
        return [seen[one] for seen, one in zip(others, at, strict=True) if one]
