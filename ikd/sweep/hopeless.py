"""When going on is a waste: what every trial would meet, and anchors that learn nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ikd.config import Recipe, SearchSpace
from ikd.sweep.records.text import percent
from ikd.sweep.records.trials import ANCHOR_NAMES, TrialRecord, best_of
from ikd.trial import OPEN

FLOOR = 0.005
"""A detector whose AP (0..1) stays below this has learnt nothing: trials cannot be told apart by it."""


def is_taught(record: TrialRecord, records: Sequence[TrialRecord], recipe: Recipe) -> bool:
    """Tell whether a trial, one of `records`, has a teacher; `recipe` is the sweep's base."""
    first = record if record.of is None else records[record.of]
    if first.anchors:
        return bool(recipe.anchor(first.anchors[0]).teachers.sequence)
    return bool(first.values.get("teachers.sequence", recipe.teachers.sequence))


def met_by_all(record: TrialRecord, records: Sequence[TrialRecord], recipe: Recipe) -> bool:
    """Tell whether the others would meet the wrong configuration that a trial has ended with.

    They would where no trial of its kind, with a teacher or without, has got as far as an epoch. What goes wrong
    without a teacher goes wrong with one.
    """
    taught = is_taught(record, records, recipe)
    return not any(one.reports and (is_taught(one, records, recipe) or not taught) for one in records)


def without_result(records: Sequence[TrialRecord], recipe: Recipe) -> str:
    """Return why a sweep that is over has not done what it was for; empty where a trial with a teacher has a result.

    Where the recipe and all trials are without a teacher, any result will do.
    """
    taught = [record for record in records if is_taught(record, records, recipe)]
    meant = taught or list(records)
    if any(record.metric is not None and record.state != "diverged" for record in meant):
        return ""
    kind = "with a teacher " if taught and len(taught) < len(records) else ""
    counts = ", ".join(
        f"{count} {state}" for state in ("failed", "diverged") if (count := sum(one.state == state for one in meant))
    )
    last = next((f"; the last: {one.reason}" for one in reversed(meant) if one.reason), "")
    return f"no trial {kind}has a result" + (f" ({counts}{last})" if counts else "")


def nothing_learnt(records: Sequence[TrialRecord], space: SearchSpace) -> str:
    """Return why a sweep should stop after its anchors; empty while they run, where one has learnt, or there are none.

    Only APs are judged: what a low value of a loss would be, nobody can say.
    """
    metric, mode = space.objective.metric, space.objective.mode
    anchors = [record for record in records if record.anchors]
    names = {name for record in anchors for name in record.anchors}
    if "AP" not in metric or mode != "max" or not anchors or names != set(space.anchors):
        return ""
    best = best_of(anchors, mode)
    if any(record.state in OPEN for record in anchors) or best is None or (best.metric or 0.0) >= FLOOR:
        return ""
    who = " and ".join(ANCHOR_NAMES[name] for record in anchors for name in record.anchors)
    value = f"at most {percent(best.metric)} {metric} (x100), below {percent(FLOOR)}"
    return (
        f"the anchors ({who}) have learnt nothing: {value}, so that trials could not be told apart. Larger images "
        "(input.scale), more epochs (schedule.epochs) or another learning rate (schedule.optimizer.lr) may help; "
        "`ikd data check --recipe` says what is taught and how large objects are for the network. "
        "With --force the same command goes on all the same"
    )
