"""What early stopping did in a sweep, and whether it could: how early ranks agree with those at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ikd.config import Recipe, Sampler, SearchSpace, chosen_scheduler
from ikd.sweep.records.ranks import LEAST, spearman
from ikd.sweep.records.trials import TrialRecord, counted
from ikd.sweep.schedulers.asha import AshaJudge
from ikd.sweep.schedulers.judges import build_judge

LEAST_CORRELATION = 0.6
"""Below this rank correlation stopping costs more than it saves."""
ANYWHERE = ("median", "hopeless")
"""Schedulers that judge at every epoch from the first on, of which that one is told."""


@dataclass(frozen=True)
class Rung:
    """An epoch at which trials are judged, or would be.

    Attributes:
        epoch: epochs finished.
        came: trials that got there.
        stopped: those that stopped there.
        finished: finished trials with a value there and at their ends.
        correlation: of their ranks there and at their ends; None for fewer than `LEAST`, or equal values.
    """

    epoch: int
    came: int
    stopped: int
    finished: int
    correlation: float | None


def rungs_of(space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord]) -> list[Rung]:
    """Return the epochs at which trials of a sweep are judged, ascending; where nothing stops, those of asha.

    Anchors are left out, and what trains a configuration again: nothing judges them. A population has none: its trials
    change on the way.

    Args:
        space: resolved.
        recipe: the base.
        records: all trials.
    """
    searched = [one for one in records if one.is_judged and one.state not in ("failed", "diverged")]
    finished = [one for one in searched if one.state == "finished"]
    found = []
    for epoch in sorted({epoch for one in searched for epoch in _judged(space, recipe, one)}):
        ends = [(one, counted(one.reports, space.objective)) for one in finished]
        pairs = [(_value(space, one, epoch), end) for one, end in ends if end is not None]
        pairs = [pair for pair in pairs if math.isfinite(pair[0])]
        came = [one for one in searched if one.epochs >= epoch]
        ended = sum(one.state == "stopped" and _at(one, epoch) == one.epochs for one in came)
        ranks = spearman(*zip(*pairs, strict=True)) if len(pairs) >= LEAST else None
        found.append(Rung(epoch, len(came), ended, len(pairs), ranks))
    return found


def _judged(space: SearchSpace, recipe: Recipe, record: TrialRecord) -> list[int]:
    ends, kind = record.stage_ends or (recipe.total_epochs,), space.scheduler.kind
    if kind == "pbt":
        return []
    if kind == "none":
        few = space.budget.model_copy(update={"trials": 1})
        asha = chosen_scheduler(recipe.total_epochs, few, Sampler.model_validate("random"), several=False).asha
        return [] if asha is None else AshaJudge(asha, space.objective.mode).rungs(record.number, ends)
    judge = build_judge(space, recipe)
    assert judge is not None
    epochs = [epoch for epoch, _ in judge.expected_share(record.number, ends) if epoch < ends[-1]]
    return epochs[:1] if kind in ANYWHERE else epochs


def _at(record: TrialRecord, epoch: int) -> int:
    """Return the first validated epoch from `epoch` on: where a rung between two reports takes effect."""
    return next(report.epoch for report in record.reports if report.epoch >= epoch)


def _value(space: SearchSpace, record: TrialRecord, epoch: int) -> float:
    metrics = next((report.metrics for report in record.reports if report.epoch >= epoch), {})
    return metrics.get(space.objective.metric, math.nan)


def said_of_stopping(space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord]) -> list[str]:
    """Return a line on what early stopping did and whether early ranks held; none where nothing can be said of it."""
    rungs = rungs_of(space, recipe, records)
    nothing_stops = space.scheduler.kind == "none"
    told = [one for one in rungs if one.correlation is not None or (one.came and not nothing_stops)]
    if not told:
        return []
    low = [one for one in told if one.correlation is not None and one.correlation < LEAST_CORRELATION]
    parts = "; ".join(_part(one, nothing_stops) for one in told)
    if nothing_stops:
        at = " and ".join(str(one.epoch) for one in (low or told))
        verdict = "would have cost more than it saves" if low else "would have saved epochs"
        return [f"stopping: nothing was stopped; {parts}: ASHA at epoch {at} {verdict}"]
    word = f"; below {LEAST_CORRELATION:g} stopping costs more than it saves: scheduler: none" if low else ""
    return [f"stopping: {space.scheduler.kind} {parts}{word}"]


def _part(rung: Rung, nothing_stops: bool) -> str:
    agree = "" if rung.correlation is None else f"agree by {rung.correlation:.2f} ({rung.finished} finished trials)"
    if nothing_stops:
        return f"ranks at epoch {rung.epoch} and the last {agree}"
    went_on = f"at epoch {rung.epoch} {rung.came - rung.stopped} of {rung.came} went on"
    return f"{went_on}, ranks there and at the last {agree}" if agree else went_on
