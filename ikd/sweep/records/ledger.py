"""Where a sweep's time went."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ikd.sweep.records.text import duration
from ikd.sweep.records.trials import TrialRecord
from ikd.trial import ATTACK_SECONDS, OPEN


@dataclass(frozen=True)
class Ledger:
    """Seconds for which trials held places of the runner, each counted once.

    Attributes:
        useful: training of trials that finished.
        stopped: training of trials that were stopped early.
        wasted: all of trials that diverged or failed.
        open: training of trials that still run or wait.
        attacks: making perturbations that all trials share.
        retried: of attempts that died, after their last report: an epoch that is trained again.
        start_up: the rest: workers starting, preparing, saving, waiting for the driver.
    """

    useful: float = 0.0
    stopped: float = 0.0
    wasted: float = 0.0
    open: float = 0.0
    attacks: float = 0.0
    retried: float = 0.0
    start_up: float = 0.0

    @property
    def total(self) -> float:
        """Seconds in all."""
        return sum(getattr(self, field.name) for field in fields(self))

    def render(self, gpus: float) -> str:
        """Return the ledger in one line for people.

        Args:
            gpus: of one trial; 0 counts the hours of trials instead.
        """
        names = {
            "stopped": "stopped early",
            "open": "of open trials",
            "start_up": "start-up",
            "attacks": "making perturbations",
        }
        parts = [(names.get(field.name, field.name), getattr(self, field.name)) for field in fields(self)]
        listed = ", ".join(f"{duration(seconds * (gpus or 1))} {name}" for name, seconds in parts if seconds >= 0.5)
        what = "GPU time" if gpus else "time of trials"
        return f"{what}: {duration(self.total * (gpus or 1))}" + (f" ({listed})" if listed else "")


def ledger(records: Sequence[TrialRecord]) -> Ledger:
    """Return where the time of some trials went."""
    sums = dict.fromkeys((field.name for field in fields(Ledger)), 0.0)
    for record in records:
        held = max(record.held, record.seconds)  # a study from before places were counted has training alone
        if record.state in ("diverged", "failed"):
            sums["wasted"] += held
            continue
        retried = min(_retried(record), held - record.seconds)
        kind = "open" if record.state in OPEN else "useful" if record.state == "finished" else "stopped"
        sums[kind] += record.seconds
        sums["retried"] += retried
        attacks = sum(report.metrics.get(ATTACK_SECONDS, 0.0) for report in record.reports)
        attacks = min(attacks, held - record.seconds - retried)
        sums["attacks"] += attacks
        sums["start_up"] += held - record.seconds - retried - attacks
    return Ledger(**sums)


def _retried(record: TrialRecord) -> float:
    """Return the time that attempts trained after their last report, which is trained again: an epoch of each at most.

    An attempt without a report was preparing, as far as is known; what it made is kept.
    """
    ends = [0.0, *[report.seconds for report in record.reports]]
    longest = max((after - before for before, after in itertools.pairwise(ends)), default=0.0)
    lost = 0.0
    for begun, again in itertools.pairwise(record.starts):
        own = [report.held for report in record.reports if begun < report.held <= again]
        lost += min(again - max(own), longest) if own else 0.0
    return lost
