"""The trials of a sweep, best first, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ikd.config import SearchSpace
from ikd.sweep.records.pareto import pareto_front
from ikd.sweep.records.text import duration, percent, readable
from ikd.sweep.records.trials import ANCHOR_NAMES, TrialRecord, ranked, shown_anchors
from ikd.sweep.view.factorial import factorial_table
from ikd.trial import pulls_text

STYLES = {
    "finished": "green",
    "running": "bold cyan",
    "waiting": "yellow",
    "stopped": "dim",
    "diverged": "red",
    "failed": "red",
}
"""Of the row of a trial, by its state."""
COST_NAMES = {"gflops": "GFLOPs", "mparameters": "M params", "latency_ms": "ms", "gpu_hours": "GPU-h"}
"""Columns of costs."""


def ended_how(record: TrialRecord) -> str:
    """Return state and reason in one text."""
    return f"{record.state} ({record.reason})" if record.reason else record.state


def ranking(records: Sequence[TrialRecord], space: SearchSpace) -> RenderableType:
    """Return the trials, best first, with their distance to the anchors and costs; those without a result come last.

    Of the anchors without distillation the stronger one counts: what inheriting gives is no gain of distilling.

    A trial that was stopped early shows its best epoch so far, marked with *: it is not comparable with whole ones. A
    full factorial with repeats has a second table: mean and spread of each configuration.
    """
    metric, mode = space.objective.metric, space.objective.mode
    anchors = shown_anchors(records, mode)
    table = Table(title=f"{metric} x100, best epoch of each trial", title_justify="left", highlight=False)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold", min_width=20)
    table.add_column(metric, justify="right", no_wrap=True)
    table.add_column("last", justify="right", no_wrap=True)
    for anchor in anchors:
        table.add_column(f"vs {ANCHOR_NAMES[anchor]}", justify="right", min_width=7)
    for cost in space.costs:
        table.add_column(COST_NAMES[cost], justify="right", no_wrap=True)
    pulled = any(record.pulls for record in records)
    if pulled:
        table.add_column("grad", overflow="fold")
    table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    order = ranked(list(records), mode)
    front = [record.number for record in pareto_front(records, space)] if space.costs else []
    rest = [record for record in records if record not in order]
    for rank, record in enumerate([*order, *rest], start=1):
        has_result = record in order
        partial = "" if record.state == "finished" else "*"
        costs = [readable(cost) if math.isfinite(cost) else "-" for cost in record.costs(space.costs)]
        gains = [_gain(record, anchor) if has_result else "-" for anchor in anchors.values()]
        table.add_row(
            (str(rank) if has_result else "-") + ("◆" if record.number in front else ""),
            str(record.number),
            described(record),
            percent(record.metric) + partial if has_result else "-",
            percent(record.last(metric)) if has_result else "-",
            *gains,
            *costs,
            *([pulls_text(record.pulls) or "-"] if pulled else []),
            f"{record.best_epoch} of {record.epochs}" if has_result else f"- of {record.epochs}",
            duration(record.seconds),
            record.state,
            style=STYLES[record.state] if record.state != "finished" else ("bold" if record.anchors else None),
        )
    lines = [
        f"trial {record.number} {ended_how(record)}; log: {record.log}"
        for record in records
        if record.state in ("failed", "diverged")
    ]
    if any(record.state != "finished" for record in order):
        lines.append("* not trained to the last epoch: its best so far, not comparable with whole trials")
    if pulled:
        lines.append("grad: how hard a term pulls on the student's backbone, as measured last; the detection loss is 1")
    if front:
        lines.append("◆ on the Pareto front: no finished trial is as good in everything and better in something")
    lines.append("epochs: best of trained; last: of the last of them, as papers print it")
    factorial = factorial_table(records, space)
    shown: list[RenderableType] = [table, Text("\n".join(lines))]
    shown += [Text(), factorial] if factorial is not None else []
    return Group(*shown)


def described(record: TrialRecord) -> str:
    """Return what a trial is: its name without the number, and whose weights it went on from."""
    taken = [f", from trial {one.source} at epoch {one.epoch}" for one in record.exploits]
    return record.name.removeprefix(f"{record.number} ") + "".join(taken)


def _gain(record: TrialRecord, anchor: TrialRecord) -> str:
    if record.number == anchor.number or record.metric is None or anchor.metric is None:
        return "-"
    return percent(record.metric - anchor.metric, sign=True)
