"""How far a trial is: its best epoch, its files, what it reports."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ikd.data import DataRecord
from ikd.trial import NO_OPTIONS, Metrics, TrialFolder, TrialOptions


@dataclass
class Progress:
    """Best epoch so far, what every report says besides, and where files go.

    Attributes:
        folder: of the trial.
        metric: that decides the best epoch.
        mode: `max` or `min`.
        data: what is trained on; None in the further processes of a trial, which write nothing.
        fingerprint: of the recipe, once it is known what the training goes on from; empty in the further processes.
        options: what a sweep asks for besides.
        costs: of the student, the same in every report.
        teachers: mAP of each by name, the same in every report.
        attack_seconds: spent on perturbations before the training, and not reported yet.
        best_epoch: from 1; 0 before the first.
        best_metrics: of that epoch.
    """

    folder: TrialFolder
    metric: str
    mode: str
    data: DataRecord | None
    fingerprint: str = ""
    options: TrialOptions = NO_OPTIONS
    costs: Metrics = field(default_factory=dict)
    teachers: Metrics = field(default_factory=dict)
    attack_seconds: float = 0.0
    best_epoch: int = 0
    best_metrics: Metrics = field(default_factory=dict)

    def improves(self, metrics: Metrics) -> bool:
        """Tell whether `metrics` beat the best epoch; a later equal epoch does not, NaN never does."""
        value, best = metrics.get(self.metric, math.nan), self.best_metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return not self.best_metrics
        return math.isnan(best) or (value > best if self.mode == "max" else value < best)

    def note(self, epoch: int, metrics: Metrics) -> bool:
        """Take an epoch for the best one if it is; tell whether it was."""
        if not self.improves(metrics):
            return False
        self.best_epoch, self.best_metrics = epoch, metrics
        return True

    def leaves(self, epoch: int, metrics: Metrics) -> bool:
        """Take in an epoch; tell whether the trial leaves its student from now on."""
        is_best = self.note(epoch, metrics)
        last = self.options.student == "last" and math.isfinite(metrics.get(self.metric, math.nan))
        return is_best or last
