"""The trials of a sweep, best first, as a table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from ikd.config import Objective, SearchSpace
from ikd.sweep.confirm.facts import measured
from ikd.sweep.confirm.front import pareto_front
from ikd.sweep.confirm.said import said_of_choice
from ikd.sweep.confirm.standing import Configuration, Standing
from ikd.sweep.effects.told import POINTS
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
        cell: from a trial to the text.
        spare: columns with larger numbers are left out first where there is no room; 0 stays.
    """

    title: str
    cell: Callable[[TrialRecord], str]
    spare: int = 0


class Ranking:
    """What `ranking` returns: renders itself for the width there is."""

    def __init__(self, records: Sequence[TrialRecord], space: SearchSpace, known: Standing | None) -> None:
        self._records, self._space, self._known = records, space, known
        results = ranked(list(records), space.objective.mode)
        self._results = {
            record.number for record in records if record.metric is not None and record.state != "diverged"
        }
        self._rows, self._ranks = _in_order(records, results, known)
        costly = known is not None and space.costs
        self._front = {one.number for one in pareto_front(known)} if known is not None and costly else set[int]()
        self._decimals = decimals_of(record.metric for record in results)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, left_out = self._fitting(options.max_width)
        objective = self._space.objective
        by = f"{RANKED_BY[objective.value]} of each trial"
        by = by if self._known is None else f"what is expected of each configuration, over seeds, of {by}"
        yield Text(f"{objective.metric} x100, ranked by {by}", style="italic")
        yield from self._lines(columns, options.max_width)
        yield Text("\n".join(self._remarks(left_out)))
        if (factorial := factorial_table(self._records, self._space)) is not None:
            yield Group(Text(), factorial)

    def _lines(self, columns: Sequence[_Column], width: int) -> Iterator[Text]:
        """Yield head and rows."""
        rows = []
        for record in self._rows:
            cells = [column.cell(record) for column in columns]
            style = STYLES[record.state] if record.state != "finished" else ("bold" if record.anchors else "")
            rows.append(Row(cells, described(record, self._space), style if record.role == "search" else "dim"))
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
        rows = [[column.cell(one) for column in columns] for one in self._records]
        return across(widths_of([column.title for column in columns], rows))

    def _columns(self) -> list[_Column]:
        metric = self._space.objective.metric
        columns = [_Column("rank", self._rank), _Column("trial", self._trial)]
        if self._known is not None:
            columns += [_Column("expected", self._expected), _Column("P(best)", self._chance)]
        columns.append(_Column(title_of(self._space.objective), self._if_result(self._value)))
        if self._space.objective.value != "best":
            columns.append(_Column("best", self._if_result(lambda one: self._figure(one.best)), spare=2))
        columns.append(_Column("at epoch", self._if_result(lambda one: str(one.best_epoch)), spare=3))
        if self._space.objective.value != "last":
            columns.append(_Column("last", self._if_result(lambda one: self._figure(one.last(metric))), spare=4))
        anchors = shown_anchors(self._records, self._space.objective.mode)
        columns += [self._gain_column(name, anchor) for name, anchor in anchors.items()]
        for index, cost in enumerate(self._space.costs):
            columns.append(_Column(COST_NAMES[cost], lambda one, index=index: self._cost(one, index)))  # type: ignore[misc]
        if any(record.pulls for record in self._records):
            columns.append(_Column("grad", lambda one: pulls_text(one.pulls) or "-", spare=5))
        return [
            *columns,
            _Column("epochs trained", trained),
            _Column("time", lambda one: duration(one.seconds), spare=1),
            _Column("state", state_of),
        ]

    def _if_result(self, cell: Callable[[TrialRecord], str]) -> Callable[[TrialRecord], str]:
        return lambda record: cell(record) if record.number in self._results else "-"

    def _gain_column(self, name: str, anchor: TrialRecord) -> _Column:
        def cell(record: TrialRecord) -> str:
            return percent(record.against(anchor), sign=True, decimals=self._decimals)

        return _Column(f"vs {ANCHOR_NAMES[name]}", self._if_result(cell))

    def _rank(self, record: TrialRecord) -> str:
        rank = self._ranks.get(record.number)
        return ("-" if rank is None else str(rank)) + ("◆" if record.number in self._front else "")

    def _trial(self, record: TrialRecord) -> str:
        seen = self._known is not None and self._known.seen.number == record.number
        return f"{record.number}▲" if seen else str(record.number)

    def _expected(self, record: TrialRecord) -> str:
        one = self._own(record)
        if one is None:
            return "-"
        half = one.interval[1] - one.mean
        return f"{self._figure(measured(self._space, one.mean))} ± {self._figure(half / POINTS)}"

    def _chance(self, record: TrialRecord) -> str:
        one = self._own(record)
        return "-" if one is None or self._known is None else f"{self._known.chances[one.number]:.2f}"

    def _own(self, record: TrialRecord) -> Configuration | None:
        """Return the configuration that stands in the row of a trial; None for further trainings of one."""
        one = self._known.of(record) if self._known is not None else None
        return one if one is not None and one.number == record.number else None

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
        if any(one.state != "finished" for one in self._records if one.number in self._results):
            lines.append("* not trained to the last epoch: what it has so far, not comparable with whole trials")
        if any(record.pulls for record in self._records) and "grad" not in left_out:
            lines.append(
                "grad: how hard a term pulls on the student's backbone, as measured last; the detection loss is 1"
            )
        if self._front:
            lines.append("◆ on the Pareto front: no finished trial is as good in everything and better in something")
        lines += self._remarks_of_choice() if self._known is not None else []
        if "last" not in left_out and self._space.objective.value != "last":
            lines.append("last: of the last epoch trained, as papers print it")
        if left_out:
            *more, last = reversed(left_out)
            lines.append(f"a wider terminal shows {', '.join(more)}{' and ' if more else ''}{last}, too")
        return lines

    def _remarks_of_choice(self) -> Iterator[str]:
        """Yield what the columns of the choice mean."""
        yield "expected: over seeds, ± 90 %, by all trainings together; P(best): probability of being the best of all"
        yield "▲ best seen: the best single value, which is luck in part; the choice is rank 1"
        if shown_anchors(self._records, self._space.objective.mode):
            yield "vs: between single trainings, with the luck of both; the lines below say what the choice brings"
        if any(one.role != "search" for one in self._records):
            yield "below a configuration: its other seeds; those trained again choose too, those kept apart do not"


def ranking(records: Sequence[TrialRecord], space: SearchSpace, known: Standing | None = None) -> RenderableType:
    """Return the trials, best first, with their distance to the anchors and costs; those without a result come last.

    Best is the configuration from which most is expected, not the one of which most was seen; below each stand its
    repeats and what was kept apart of it. Behind the configurations come trials of which nothing is expected: anchors
    outside the space, and those that were stopped early, which show what they have so far, marked with *. Of the
    anchors without distillation the stronger one counts: what inheriting gives is no gain of distilling.

    A full factorial with repeats has a second table: mean and spread of each configuration. Nothing is cut: in a narrow
    terminal columns are left out, and say so.

    Args:
        records: every trial.
        space: resolved.
        known: of them; None, while none has finished, ranks by what the trials have so far.
    """
    return Ranking(records, space, known)


def _in_order(
    records: Sequence[TrialRecord], results: Sequence[TrialRecord], known: Standing | None
) -> tuple[list[TrialRecord], dict[int, int]]:
    """Return the rows in their order, and the ranks by the number of the trial; further trainings have none."""
    if known is None:
        ranks = {record.number: rank for rank, record in enumerate(results, start=1)}
        return [*results, *(one for one in records if one.number not in ranks)], ranks
    further: dict[int, list[TrialRecord]] = defaultdict(list)
    for record in records:
        one = known.of(record)
        of = record.of if one is None else one.number
        if of is not None and of != record.number:
            further[of].append(record)
    ranks = {one.number: rank for rank, one in enumerate(known.configurations, start=1)}
    under = {record.number for group in further.values() for record in group}
    rest = [record for record in results if record.number not in ranks]
    without = [one for one in records if one.number not in {record.number for record in results}]
    heads = [*(one.trainings[0] for one in known.configurations), *rest, *without]
    heads = [record for record in heads if record.number not in under]
    return [row for head in heads for row in (head, *further.get(head.number, ()))], ranks


def choice_lines(space: SearchSpace, records: Sequence[TrialRecord], known: Standing) -> list[str]:
    """Return the three lines on the chosen configuration, see `said_of_choice`, with its name for people."""
    return list(said_of_choice(space, records, known, described(known.chosen.trainings[0], space)))


def described(record: TrialRecord, space: SearchSpace) -> str:
    """Return what a trial is, with every value that was searched, and whose weights it went on from."""
    taken = [f", from trial {one.source} at epoch {one.epoch}" for one in record.exploits]
    name = record.name.removeprefix(f"{record.number} ")
    if name.endswith("…"):  # a tracker's lists have less room
        values = record.proposed or record.values
        own = {field: value for field, value in values.items() if field not in space.followers}
        name = trial_name(record.number, own, ALL).removeprefix(f"{record.number} ")
    return name + "".join(taken)
