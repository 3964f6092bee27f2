"""What a proposal is made from, and what the recorded trials say in one common order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ikd.config import Recipe, SearchSpace
from ikd.sweep.records.trials import TrialRecord, worst_value
from ikd.trial import OPEN

Values = dict[str, Any]
"""What a sampler would try: parameters by dotted name, and recipe fields that are none."""


@dataclass(frozen=True)
class History:
    """All that a proposal depends on.

    Attributes:
        space: what is searched, resolved.
        recipe: the base.
        records: every trial of the study, in order of number.
        number: of the trial to be.
        earlier: trials of other sweeps that are learnt from besides; those not `in_space` lack parameters.
    """

    space: SearchSpace
    recipe: Recipe
    records: tuple[TrialRecord, ...]
    number: int
    earlier: tuple[TrialRecord, ...] = ()

    def seed(self, *more: int) -> int:
        """Return the seed of a draw for this trial."""
        return int(np.random.SeedSequence([self.space.seed, self.number, *more]).generate_state(1)[0])

    @cached_property
    def known(self) -> list[TrialRecord]:
        """The trials that a sampler may learn from: points of the space that were not lost to a fault."""
        return [one for one in (*self.earlier, *self.records) if one.in_space and one.state != "failed"]

    @cached_property
    def ended(self) -> list[TrialRecord]:
        """Those of `known` that are over."""
        return [one for one in self.known if one.state not in OPEN]

    @property
    def repeats(self) -> list[TrialRecord]:
        """Finished trainings of known points with other seeds, for models that know of noise."""
        return [one for one in self.records if one.role == "repeat" and one.state == "finished"]

    def losses(self, record: TrialRecord) -> tuple[float, ...] | None:
        """Return objective and costs of a finished trial, the smaller the better; None when it has not all of them."""
        if record.state != "finished" or record.metric is None:
            return None
        found = (self.sign * record.metric, *record.costs(self.space.costs))
        return found if all(map(math.isfinite, found)) else None

    @property
    def sign(self) -> float:
        """What makes the objective a loss."""
        return -1.0 if self.space.objective.mode == "max" else 1.0

    def last(self, record: TrialRecord) -> float:
        """Return the latest finite objective of a trial; the worst there is when it has none or has diverged."""
        values = [report.metrics.get(self.space.objective.metric, math.nan) for report in record.reports]
        finite = [value for value in values if math.isfinite(value)]
        return finite[-1] if finite and record.state != "diverged" else worst_value(self.space.objective.mode)

    @cached_property
    def _longest(self) -> int:
        """The most epochs that any known trial has come to."""
        return max((one.epochs for one in self.known), default=0)

    def shortfall(self, record: TrialRecord) -> float:
        """Return 0 for a finished trial, and for others how far behind all of those they stand.

        A stopped trial stands before those stopped earlier, and among those of its epoch by its last value (AP in
        0..1); a diverged one stands last, wherever it diverged. This is the order in which Optuna's TPE ranks pruned
        trials of one objective.
        """
        if self.losses(record) is not None:
            return 0.0
        if record.state == "diverged":
            return self._longest + 3.0
        badness = min(max(self.last(record), 0.0), 1.0)
        return 1.0 + self._longest - record.epochs + (1.0 - badness if self.space.objective.mode == "max" else badness)
