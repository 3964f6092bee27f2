"""The figures by which trials are compared in a tracker, in the units of the metric (AP in 0..1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ikd.config import Objective, SearchSpace
from ikd.sweep.confirm.facts import measured
from ikd.sweep.confirm.standing import Standing
from ikd.sweep.records.trials import Report, TrialRecord, best_report, counted, ranked
from ikd.trial import OPEN

VALUE = "value"
"""What the sweep ranks by: what is expected of a configuration, over seeds."""
BEST, GAIN = "best/", "gain/"
"""How the best value of a trial over its epochs, and the distances to anchors, are called before their own names."""
EXPECTED, BY_TRIALS, BY_EPOCHS = "sweep/expected", "sweep/best by trials", "sweep/best by epochs"
"""Of the sweep itself: of its choice, over ended trials; the best that was seen, over ended trials, and over epochs."""

DIGITS = 6
"""Decimals: MLflow's lists cut longer ones."""

Figures = dict[str, float | None]
"""By name; None where there is none, or no longer."""


def values_of(space: SearchSpace, records: Sequence[TrialRecord], known: Standing | None) -> Mapping[int, float]:
    """Return what trials are ranked by, by number; those without a rank have none.

    With configurations that have finished it is what is expected of each, and stands at its first training. A sweep
    that has ended without one is ranked by what its trials have seen, as in every table.

    Args:
        space: resolved.
        records: every trial.
        known: of them.
    """
    if known is not None:
        return {one.number: round(measured(space, one.mean), DIGITS) for one in known.configurations}
    if any(one.state in OPEN for one in records):
        return {}
    results = ranked(records, space.objective.mode)
    return {one.number: round(one.metric, DIGITS) for one in results if one.metric is not None}


def figures_of(space: SearchSpace, records: Sequence[TrialRecord], known: Standing | None) -> dict[int, Figures]:
    """Return the figures of every trial that has begun, by number.

    Args:
        space: resolved.
        records: every trial.
        known: of them.
    """
    values = values_of(space, records, known)
    return {
        one.number: {VALUE: values.get(one.number), **seen_of(one, one.reports, records, space.objective)}
        for one in records
    }


def seen_of(
    record: TrialRecord, reports: Sequence[Report], records: Sequence[TrialRecord], objective: Objective
) -> Figures:
    """Return what a trial has seen up to some report: its best value, and the distances to the anchors.

    Args:
        record: the trial.
        reports: of it, up to then.
        records: every trial.
        objective: of the sweep.
    """
    best = best_report(reports, objective.metric, objective.mode)
    if best is None or record.state == "diverged":
        return {}
    own = counted(reports, objective)
    found: Figures = {f"{BEST}{objective.metric}": round(best.metrics[objective.metric], DIGITS)}
    for anchor in records:
        if own is not None and anchor.metric is not None and anchor.number != record.number:
            found |= {f"{GAIN}{name}": round(own - anchor.metric, DIGITS) for name in anchor.anchors}
    return found


def history(records: Sequence[TrialRecord], objective: Objective) -> list[tuple[str, float, int, float]]:
    """Return the curves of a sweep: the best that was seen so far, over ended trials and over all their epochs.

    Returns:
        Name, value, step (ended trials, or epochs of all trials together) and time (seconds since 1970) of each point.
    """
    better = max if objective.mode == "max" else min
    points, best = [], math.nan
    searched = [one for one in records if one.role == "search"]
    for step, one in enumerate(sorted((r for r in searched if r.state not in OPEN), key=lambda r: r.ended), start=1):
        if one.metric is not None and one.state != "diverged":
            best = one.metric if math.isnan(best) else better(best, one.metric)
        if not math.isnan(best):
            points.append((BY_TRIALS, best, step, one.ended))
    best = math.nan
    for step, report in enumerate(sorted((x for r in searched for x in r.reports), key=lambda x: x.order), start=1):
        value = report.metrics.get(objective.metric, math.nan)
        if math.isfinite(value):
            best = value if math.isnan(best) else better(best, value)
        if not math.isnan(best):
            points.append((BY_EPOCHS, best, step, report.time))
    return points
