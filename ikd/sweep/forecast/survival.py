"""How many epochs a trial will train, by the rule that stops trials and by what it has done so far."""

from __future__ import annotations

from collections.abc import Sequence

from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.schedulers.judges import Judge

PRIOR = 2.0
"""How many trials the rule's own share weighs, against those that came to a rung."""


class Survival:
    """Expects of each rung what it did so far, and of the judge's share where nothing came there yet.

    Args:
        judge: None when nothing is stopped early.
        records: the trials so far.
    """

    def __init__(self, judge: Judge | None, records: Sequence[TrialRecord]) -> None:
        self._judge = judge
        self._sampled = [one for one in records if one.is_judged and one.state not in ("failed", "diverged")]
        self._rungs = {one.number: {epoch for epoch, _ in self._share(one.number, one.stage_ends)} for one in records}

    def _share(self, number: int, ends: Sequence[int]) -> list[tuple[int, float]]:
        if self._judge is None or not ends:
            return [(ends[-1] if ends else 0, 1.0)]
        return sorted(self._judge.expected_share(number, ends))

    def last_epoch(self, number: int, ends: Sequence[int], *, done: int = 0) -> float:
        """Return the epoch at which a trial is expected to end: above `done`, which it has finished and gone on from.

        Args:
            number: of the trial.
            ends: last epoch of each of its stages.
            done: epochs that it has finished.
        """
        share = self._share(number, ends)
        expected, prior_alive, scale = 0.0, 1.0, 1.0  # scale: how much likelier it is to come here than by its rule
        for epoch, probability in share[:-1]:
            usual = probability / prior_alive if prior_alive > 0 else 0.0
            if epoch <= done:  # it has passed
                scale /= 1 - usual
            elif (seen := self._hazard(epoch, usual)) is not None:
                expected += epoch * probability * scale * (seen / usual if usual > 0 else 0.0)
                scale *= (1 - seen) / (1 - usual)
            else:
                expected += epoch * (probability * scale)
            prior_alive -= probability
        last, probability = share[-1]
        return min(expected + last * (probability * scale), float(last))

    def _hazard(self, epoch: int, usual: float) -> float | None:
        """Return the share of those that come to a rung that is stopped there, None where nobody came yet."""
        there = [one for one in self._sampled if one.epochs >= epoch and epoch in self._rungs[one.number]]
        stopped = sum(one.state == "stopped" and one.epochs == epoch for one in there)
        return (stopped + PRIOR * usual) / (len(there) + PRIOR) if there else None
