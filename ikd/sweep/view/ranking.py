"""The trials of a sweep, best first, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from ikd.config import Objective, SearchSpace
from ikd.sweep.records.pareto import pareto_front
from ikd.sweep.records.text import decimals_of, duration, percent, readable
from ikd.sweep.records.trials import ANCHOR_NAMES, RANKED_BY, TrialRecord, ranked, shown_anchors
from ikd.sweep.view.factorial import factorial_table
from ikd.sweep.view.layout import Row, across, laid_out, widths_of
from ikd.tracking import trial_name
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
ALL = 10_000
"""Characters of a name that leaves nothing out."""


def title_of(objective: Objective) -> str:
    """Return the title of the figures that trials are ranked by."""
    return objective.value.replace("_", " ")


def figure_of(record: TrialRecord, objective: Objective) -> str:
    """Return what a trial with a result counts with, and its best epoch."""
    decimals = decimals_of([record.metric])
    text = percent(record.metric, decimals=decimals)
    if objective.value != "best":
        text += f", {RANKED_BY[objective.value]}; {percent(record.best, decimals=decimals)}"
    return f"{text} at epoch {record.best_epoch}"


def state_of(record: TrialRecord) -> str:
    """Return the state of a trial in a word for people."""
    return "interrupted" if record.state == "waiting" else record.state


def ended_how(record: TrialRecord) -> str:
    """Return state and reason in one text."""
    return f"{state_of(record)} ({record.reason})" if record.reason else state_of(record)


def trained(record: TrialRecord) -> str:
    """Return the epochs that a trial has trained, and of how many where it has not trained them all."""
    total = record.total_epochs(record.epochs)
    return str(record.epochs) if record.epochs >= total else f"{record.epochs} of {total}"


@dataclass(frozen=True)
class _Column:
    """One column.

    Attributes:
        title: its head; breaks into lines between words.
        cell: from a trial and its rank (0 without a result) to the text.
        spare: columns with larger numbers are left out first where there is no room; 0 stays.
    """

    title: str
    cell: Callable[[TrialRecord, int], str]
    spare: int = 0


class Ranking:
    """What `ranking` returns: renders itself for the width there is."""

    def __init__(self, records: Sequence[TrialRecord], space: SearchSpace) -> None:
        self._records, self._space = records, space
        self._order = ranked(list(records), space.objective.mode)
        self._front = {record.number for record in pareto_front(records, space)} if space.costs else set()
        self._decimals = decimals_of(record.metric for record in self._order)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, left_out = self._fitting(options.max_width)
        objective = self._space.objective
        yield Text(f"{objective.metric} x100, ranked by {RANKED_BY[objective.value]} of each trial", style="italic")
        yield from self._lines(columns, options.max_width)
        yield Text("\n".join(self._remarks(left_out)))
        if (factorial := factorial_table(self._records, self._space)) is not None:
            yield Group(Text(), factorial)

    def _lines(self, columns: Sequence[_Column], width: int) -> Iterator[Text]:
        """Yield head and rows, the trials without a result last."""
        rest = [record for record in self._records if record not in self._order]
        rows = []
        for rank, record in enumerate([*self._order, *rest], start=1):
            cells = [column.cell(record, rank if rank <= len(self._order) else 0) for column in columns]
            style = STYLES[record.state] if record.state != "finished" else ("bold" if record.anchors else "")
            rows.append(Row(cells, described(record, self._space), style))
        head, lines = laid_out([column.title for column in columns], rows, width)
        yield from [*head, *lines]

    def _fitting(self, width: int) -> tuple[list[_Column], list[str]]:
        """Return the columns that have room, and the titles of those left out."""
        columns, left_out = self._columns(), list[str]()
        while self._room(columns) > width:
            spare = max(columns, key=lambda one: one.spare)
            if not spare.spare:
                break
            columns.remove(spare)
            left_out.append(spare.title)
        return columns, left_out

    def _room(self, columns: Sequence[_Column]) -> int:
        rows = [[column.cell(one, len(self._records)) for column in columns] for one in self._records]
        return across(widths_of([column.title for column in columns], rows))

    def _columns(self) -> list[_Column]:
        metric = self._space.objective.metric
        anchors = shown_anchors(self._records, self._space.objective.mode)
        columns = [
            _Column("rank", self._rank),
            _Column("trial", lambda one, rank: str(one.number)),
            _Column(title_of(self._space.objective), lambda one, rank: self._value(one) if rank else "-"),
        ]
        if self._space.objective.value != "best":
            columns.append(_Column("best", lambda one, rank: self._figure(one.best) if rank else "-"))
        columns.append(_Column("at epoch", lambda one, rank: str(one.best_epoch) if rank else "-"))
        if self._space.objective.value != "last":
            columns.append(_Column("last", lambda one, rank: self._figure(one.last(metric)) if rank else "-", spare=2))
        columns += [self._gain_column(name, anchor) for name, anchor in anchors.items()]
        for index, cost in enumerate(self._space.costs):
            columns.append(_Column(COST_NAMES[cost], lambda one, rank, index=index: self._cost(one, index)))  # type: ignore[misc]
        if any(record.pulls for record in self._records):
            columns.append(_Column("grad", lambda one, rank: pulls_text(one.pulls) or "-", spare=3))
        return [
            *columns,
            _Column("epochs trained", lambda one, rank: trained(one)),
            _Column("time", lambda one, rank: duration(one.seconds), spare=1),
            _Column("state", lambda one, rank: state_of(one)),
        ]

    def _gain_column(self, name: str, anchor: TrialRecord) -> _Column:
        def cell(record: TrialRecord, rank: int) -> str:
            return percent(record.against(anchor) if rank else None, sign=True, decimals=self._decimals)

        return _Column(f"vs {ANCHOR_NAMES[name]}", cell)

    def _rank(self, record: TrialRecord, rank: int) -> str:
        return (str(rank) if rank else "-") + ("◆" if record.number in self._front else "")

    def _value(self, record: TrialRecord) -> str:
        return self._figure(record.metric) + ("" if record.state == "finished" else "*")

    def _figure(self, value: float | None) -> str:
        return percent(value, decimals=self._decimals)

    def _cost(self, record: TrialRecord, index: int) -> str:
        cost = record.costs(self._space.costs)[index]
        return readable(cost) if math.isfinite(cost) else "-"

    def _remarks(self, left_out: Sequence[str]) -> list[str]:
        ended = [one for one in self._records if one.state in ("failed", "diverged")]
        lines = [f"trial {record.number} {ended_how(record)}; log: {record.log}" for record in ended]
        if any(record.state != "finished" for record in self._order):
            lines.append("* not trained to the last epoch: what it has so far, not comparable with whole trials")
        if any(record.pulls for record in self._records) and "grad" not in left_out:
            lines.append(
                "grad: how hard a term pulls on the student's backbone, as measured last; the detection loss is 1"
            )
        if self._front:
            lines.append("◆ on the Pareto front: no finished trial is as good in everything and better in something")
        if "last" not in left_out and self._space.objective.value != "last":
            lines.append("last: of the last epoch trained, as papers print it")
        if left_out:
            lines.append(f"a wider terminal shows {' and '.join(reversed(left_out))}, too")
        return lines


def ranking(records: Sequence[TrialRecord], space: SearchSpace) -> RenderableType:
    """Return the trials, best first, with their distance to the anchors and costs; those without a result come last.

    Of the anchors without distillation the stronger one counts: what inheriting gives is no gain of distilling.

    A trial that was stopped early shows what it has so far, marked with *: it is not comparable with whole ones. A
    full factorial with repeats has a second table: mean and spread of each configuration. Nothing is cut: in a narrow
    terminal columns are left out, and say so.
    """
    return Ranking(records, space)


def described(record: TrialRecord, space: SearchSpace) -> str:
    """Return what a trial is, with every value that was searched, and whose weights it went on from."""
    taken = [f", from trial {one.source} at epoch {one.epoch}" for one in record.exploits]
    name = record.name.removeprefix(f"{record.number} ")
    if name.endswith("…"):  # a tracker's lists have less room
        values = record.proposed or record.values
        own = {field: value for field, value in values.items() if field not in space.followers}
        name = trial_name(record.number, own, ALL).removeprefix(f"{record.number} ")
    return name + "".join(taken)
