"""What the study says about a trial, and about one to be, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ikd.config import UNDISTILLED, Objective, Recipe
from ikd.trial import COST, PULL, State, TrialFolder

Role = Literal["search", "repeat", "apart"]
"""Why a trial was trained: to find (anchors too); again with another seed, to choose; or kept apart, so that neither
sampler nor choice ever see it, to say what the choice is worth."""

ANCHOR_NAMES = {
    "paper": "paper",
    "student_alone": "student alone",
    "inherit_alone": "inherit alone",
    "equal_budget": "equal budget",
    "epochs_per_stage": "whole schedule per stage",
    "epochs_per_stage_control": "its equal budget",
}


@dataclass(frozen=True)
class Report:
    """One validation of a trial.

    Attributes:
        epoch: epochs finished, from 1.
        metrics: by name, in the units of the metric tables (AP in 0..1).
        seconds: the trial's training time up to here, over all attempts.
        order: place among all reports of the sweep; early stopping is replayed in this order.
        held: seconds that the trial had held a place of the runner, over all attempts.
        time: of the report, seconds since 1970; 0 in a study from before it was written.
        exploit: what the trial goes on from instead of its own weights, None for those.
    """

    epoch: int
    metrics: Mapping[str, float]
    seconds: float
    order: int
    held: float = 0.0
    time: float = 0.0
    exploit: Exploit | None = None


@dataclass(frozen=True)
class Exploit:
    """A trial of a population goes on from another one's weights (population-based training).

    Attributes:
        epoch: epochs that both had finished.
        source: number of the trial whose checkpoint of `epoch` is taken over.
        values: of the recipe from here on, by dotted name.
        fingerprint: of that recipe; empty before the study has it.
    """

    epoch: int
    source: int
    values: Mapping[str, Any]
    fingerprint: str = ""


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as the study has it.

    Attributes:
        number: in the study, from 0; also the name of its folder.
        name: for people: an anchor's name, or the number and what varies.
        anchors: which anchors this trial is (both when they are one configuration); empty for a sampled trial.
        values: recipe fields by dotted name that were set for this trial.
        in_space: the values are a point of the search space, so the sampler learns from the trial.
        fingerprint: of its recipe.
        state: see `State`.
        metric: what the trial counts with in the whole sweep, see `counted`; None before the first finite report.
        best_epoch: epoch with the best value of the objective's metric.
        seconds: training time over all attempts.
        attempts: how often it was started.
        crashes: how many attempts died.
        reason: why it ended, for people.
        directory: holds best.pth, last.pth, recipe.yaml, log.jsonl.
        reports: by ascending epoch.
        stage_ends: last epoch of each stage; empty in a study from before there were stages.
        exploits: by ascending epoch; `values` and `fingerprint` are those after the last one.
        held: seconds that the trial has held a place of the runner, over all attempts.
        starts: `held` at the start of each attempt.
        proposed: the values before any exploit.
        began: when it was proposed, seconds since 1970.
        ended: when it ended, seconds since 1970; 0 for one that is open.
        failures: why it had failed each time before a person had it tried again.
        role: why it is trained.
        of: number of the trial whose configuration it trains with another seed; None for the search's own.
        kept: trainings that are kept apart together with it, both sides and itself counted; 0 for other roles.
        best: value of the objective's metric at `best_epoch`: over a maximum of epochs, so too good by luck.
    """

    number: int
    name: str
    anchors: tuple[str, ...]
    values: Mapping[str, Any]
    in_space: bool
    fingerprint: str
    directory: Path
    state: State = "running"
    metric: float | None = None
    best_epoch: int | None = None
    seconds: float = 0.0
    attempts: int = 0
    crashes: int = 0
    reason: str = ""
    reports: tuple[Report, ...] = field(default=(), repr=False)
    stage_ends: tuple[int, ...] = ()
    exploits: tuple[Exploit, ...] = ()
    held: float = 0.0
    starts: tuple[float, ...] = ()
    proposed: Mapping[str, Any] = field(default_factory=dict, repr=False)
    began: float = 0.0
    ended: float = 0.0
    failures: tuple[str, ...] = ()
    best: float | None = None
    role: Role = "search"
    of: int | None = None
    kept: int = 0

    def with_reports(self, reports: tuple[Report, ...], objective: Objective) -> TrialRecord:
        """Return the trial with these reports, and what they make it count with."""
        best = best_report(reports, objective.metric, objective.mode)
        return replace(
            self,
            reports=reports,
            metric=counted(reports, objective),
            best=best.metrics[objective.metric] if best else None,
            best_epoch=best.epoch if best else None,
        )

    @property
    def log(self) -> Path:
        """What its attempts have said, where they could write it; see `TrialFolder`."""
        return TrialFolder(self.directory).said

    @property
    def is_judged(self) -> bool:
        """Whether the scheduler may stop it: anchors, repeats and what is kept apart train to their ends."""
        return self.role == "search" and not self.anchors

    @property
    def epochs(self) -> int:
        """Epochs trained and recorded."""
        return self.reports[-1].epoch if self.reports else 0

    def total_epochs(self, default: int) -> int:
        """Return how long the trial trains when nothing stops it; `default` where the study does not say."""
        return self.stage_ends[-1] if self.stage_ends else default

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics of the best epoch; empty before the first report."""
        return next((dict(report.metrics) for report in self.reports if report.epoch == self.best_epoch), {})

    def last(self, metric: str) -> float:
        """Return a metric of the last validation; NaN where there is none."""
        return self.reports[-1].metrics.get(metric, math.nan) if self.reports else math.nan

    @property
    def pulls(self) -> dict[str, float]:
        """How hard each term pulled on the student's backbone, as reported last of it; the names are `grad/TERM`."""
        found: dict[str, float] = {}
        for report in self.reports:
            found |= {name: value for name, value in report.metrics.items() if name.startswith(PULL)}
        return found

    def against(self, anchor: TrialRecord) -> float | None:
        """Return the objective minus an anchor's; None where either has no result, or the trial is that anchor."""
        known = self.metric is not None and anchor.metric is not None and anchor.number != self.number
        return self.metric - anchor.metric if known else None  # type: ignore[operator]

    def costs(self, names: Sequence[str]) -> tuple[float, ...]:
        """Return some costs as last reported, in the units of their names; NaN where there is none."""
        last = self.reports[-1].metrics if self.reports else {}
        return tuple(last.get(f"{COST}{name}", math.nan) for name in names)


@dataclass(frozen=True)
class Proposal:
    """The next trial.

    Attributes:
        values: recipe fields by dotted name; only those that exist under their parents' values.
        recipe: the base recipe with `values`.
        anchors: names of the anchors it is; empty when sampled.
        in_space: `values` is a point of the space, of which the sampler learns.
        role: why it is trained.
        of: number of the trial whose configuration it trains with another seed.
        kept: trainings that are kept apart together with it, both sides and itself counted; 0 for other roles.
    """

    values: Mapping[str, Any]
    recipe: Recipe
    anchors: tuple[str, ...] = ()
    in_space: bool = True
    role: Role = "search"
    of: int | None = None
    kept: int = 0


def recipe_of(record: TrialRecord, records: Sequence[TrialRecord], base: Recipe) -> Recipe:
    """Return the recipe that a trial trains.

    Args:
        record: the trial.
        records: every trial of its sweep, by number.
        base: recipe of the sweep.

    Raises:
        ConfigError: its values do not fit the base.
    """
    first = record if record.of is None else records[record.of]
    made = base.anchor(first.anchors[0]) if first.anchors else base.with_values(first.values)
    return made if record.of is None else made.with_values({"seed": record.values["seed"]})


RANKED_BY = {
    "last_two": "the mean of the last two validations",
    "last": "the last validation",
    "best": "the best epoch",
}
"""What trials are ranked by, by the objective's `value`."""
COUNTED = {"last": 1, "last_two": 2}
"""How many of the last validations a trial counts with the mean of, by the objective's `value`."""


def counting(reports: Sequence[Report], objective: Objective) -> list[Report]:
    """Return the validations that a trial counts with the mean of; none where none has a finite objective.

    By `objective.value` these are the last two with a finite one (the last where there is one), the last, or the best.
    A maximum over epochs is luck in part, and the more so the more noise there is.
    """
    if objective.value == "best":
        best = best_report(reports, objective.metric, objective.mode)
        return [best] if best is not None else []
    return [one for one in reports if math.isfinite(one.metrics.get(objective.metric, math.nan))][
        -COUNTED[objective.value] :
    ]


def counted(reports: Sequence[Report], objective: Objective) -> float | None:
    """Return what a trial with these reports counts with in the whole sweep, in the metric's units; see `counting`."""
    values = [one.metrics[objective.metric] for one in counting(reports, objective)]
    return sum(values) / len(values) if values else None


def best_report(reports: Sequence[Report], metric: str, mode: str) -> Report | None:
    """Return the report with the best finite `metric`; the earliest of equal ones, None when there is none."""
    finite = [report for report in reports if math.isfinite(report.metrics.get(metric, math.nan))]
    sign = 1.0 if mode == "max" else -1.0
    return max(finite, key=lambda report: (sign * report.metrics[metric], -report.epoch), default=None)


def worst_value(mode: str) -> float:
    """Return the worst value an AP can have: what a diverged trial is told with."""
    return 0.0 if mode == "max" else 1.0


def shown_anchors(records: Sequence[TrialRecord], mode: str) -> dict[str, TrialRecord]:
    """Return by name the anchors that gains are shown against: of those without distillation the stronger one alone."""
    anchors = {anchor: record for record in records for anchor in record.anchors}
    undistilled = ranked(list({one.number: one for name, one in anchors.items() if name in UNDISTILLED}.values()), mode)
    weaker = {one.number for one in undistilled[1:]}
    return {name: one for name, one in anchors.items() if name not in UNDISTILLED or one.number not in weaker}


def best_of(records: Sequence[TrialRecord], mode: str) -> TrialRecord | None:
    """Return the trial with the best result; None where none has one."""
    return next(iter(ranked(records, mode)), None)


def ranked(records: Sequence[TrialRecord], mode: str) -> list[TrialRecord]:
    """Return the search's trials that have a result, best first; equal ones by number."""
    sign = -1.0 if mode == "max" else 1.0
    searched = [record for record in records if record.role == "search"]
    with_result = [record for record in searched if record.metric is not None and record.state != "diverged"]
    return sorted(with_result, key=lambda record: (sign * (record.metric or 0.0), record.number))
