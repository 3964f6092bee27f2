"""Lists, sheets and comparisons of sweeps and trials, for a terminal."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ikd.config import DRAWN, differences
from ikd.errors import BadInput
from ikd.sweep.confirm.facts import measured
from ikd.sweep.look.changes import curve_of
from ikd.sweep.look.plain import best_metrics, log_tail
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.text import decimals_of, duration, percent, readable
from ikd.sweep.records.trials import ANCHOR_NAMES, TrialRecord
from ikd.sweep.status import SweepStatus
from ikd.sweep.view.curve import MARKS, Curve, plotted
from ikd.sweep.view.ranking import described, ended_how, figure_of, state_of, title_of, trained
from ikd.sweep.view.space import space_table
from ikd.trial import TrialFolder

USUAL_METRIC = "bbox_mAP"


def trial_of(status: SweepStatus, number: int) -> TrialRecord:
    """Return a trial by its number.

    Raises:
        BadInput: there is none.
    """
    if not 0 <= number < len(status.trials):
        have = f"0 to {len(status.trials) - 1}" if status.trials else "none yet"
        raise BadInput(f"sweep {status.name}: trial: must be one of its trials ({have}), but got {number}")
    return status.trials[number]


def sweeps_table(found: Sequence[SweepStatus | BadInput]) -> RenderableType:
    """Return all sweeps as a table, those that were worked on last first; what cannot be read is told below."""
    statuses = sorted(
        (one for one in found if isinstance(one, SweepStatus)), key=lambda one: one.changed or 0.0, reverse=True
    )
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("name", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("expected", justify="right", no_wrap=True)
    table.add_column("last change", no_wrap=True)
    table.add_column("data", overflow="fold")
    for status in statuses:
        best = status.best
        metric = status.files.space.objective.metric
        expected = _expected(status)
        figure = "-" if expected is None else percent(expected, decimals=decimals_of([expected]))
        where = (
            ""
            if best is None
            else f" (trial {_chosen(status, best)})" + (f" {metric}" if metric != USUAL_METRIC else "")
        )
        changed = "-" if status.changed is None else _when(status.changed)
        table.add_row(status.name, status.state, status.progress, figure + where, changed, _home_path(status.data))
    broken = [f"error: {one}" for one in found if isinstance(one, BadInput)]
    return Group(table, Text("\n".join(broken))) if broken else table


def sweep_sheet(status: SweepStatus) -> RenderableType:
    """Return what a sweep is: what is searched and how, the recipe it varies, who is ahead."""
    space, recipe = status.files.space, status.files.recipe
    spent = ledger(status.trials).render(status.files.runner.trial.gpus)
    lines = [
        ("sweep", f"{status.name}, {status.state}: {status.progress} trials ended"),
        ("folder", str(status.directory)),
        ("recipe", f"{recipe.name}: {recipe.description}" if recipe.description else recipe.name),
        ("data", status.data),
        ("epochs", f"{recipe.total_epochs} a trial"),
        ("last change", _when(status.changed) if status.changed is not None else "-"),
        ("time", f"{duration(status.wall_seconds)} by the clock; {spent}"),
    ]
    lines += [("choice" if index == 0 else "", line) for index, line in enumerate(status.said_of_choice())]
    if (best := status.best) is not None and status.standing is not None:
        lines.append(
            ("exported", f"trial {best.number}, {figure_of(best, space.objective)}: nearest to what is expected")
        )
    elif best is not None:
        what = f"trial {best.number} ({described(best, space)})"
        lines.append(("best", f"{what}, {figure_of(best, space.objective)}"))
    for record in status.trials:
        for name in record.anchors:
            figure = percent(record.metric, decimals=decimals_of([record.metric]))
            lines.append((f"anchor {ANCHOR_NAMES[name]}", f"trial {record.number}, {figure}, {ended_how(record)}"))
    more = f"ikd status {status.name} ranks the trials, ikd show {status.name} TRIAL shows one"
    return Group(_facts(lines), Text(), space_table(space, recipe), Text(f"\n{more}"))


def _expected(status: SweepStatus) -> float | None:
    """Return what is expected of the chosen configuration, or what the best trial has while none has finished."""
    if status.standing is not None:
        return measured(status.files.space, status.standing.chosen.mean)
    return status.best.metric if status.best is not None else None


def _chosen(status: SweepStatus, best: TrialRecord) -> int:
    return status.standing.chosen.number if status.standing is not None else best.number


class TrialSheet:
    """All that is recorded of a trial; the curve takes the width there is."""

    def __init__(self, status: SweepStatus, record: TrialRecord) -> None:
        self._status, self._record = status, record

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        status, record = self._status, self._record
        yield _facts(_trial_facts(status, record))
        metric = status.files.space.objective.metric
        rival = _rival(status, record)
        curves = [curve_of(record, metric), *([curve_of(rival, metric)] if rival is not None else [])]
        legend = f"\n{MARKS[0]} trial {record.number}"
        legend += (
            f"\n{MARKS[1]} trial {rival.number}: {described(rival, status.files.space)}" if rival is not None else ""
        )
        yield from _drawn(metric, curves, legend, options.max_width)
        yield Text()
        yield _changes_table(
            differences(status.files.recipe, status.recipe_of(record)),
            ("recipe", "trial"),
            "differs from the recipe in",
        )
        if tail := log_tail(record):
            yield Text(f"\nthe last lines of its log ({record.directory}):", style="bold")
            yield Text("\n".join(tail))


class Comparison:
    """Two trials of a sweep side by side: only what differs."""

    def __init__(self, status: SweepStatus, one: TrialRecord, other: TrialRecord) -> None:
        self._status, self._pair = status, (one, other)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        status, (one, other) = self._status, self._pair
        heads = (f"trial {one.number}", f"trial {other.number}")
        yield Text(
            f"{heads[0]}: {described(one, status.files.space)}\n{heads[1]}: {described(other, status.files.space)}\n"
        )
        recipes = [status.recipe_of(record) for record in self._pair]
        yield _changes_table(differences(*recipes), heads, "differ in")
        yield Text()
        yield _metrics_table(status, one, other, heads)
        metric = status.files.space.objective.metric
        legend = "   ".join(f"{mark} {head}" for mark, head in zip(MARKS, heads, strict=True))
        yield from _drawn(metric, [curve_of(record, metric) for record in self._pair], " " + legend, options.max_width)


def _trial_facts(status: SweepStatus, record: TrialRecord) -> list[tuple[str, str]]:
    space = status.files.space
    total = record.total_epochs(status.files.recipe.total_epochs)
    decimals = decimals_of([record.metric])
    lines = [
        ("trial", f"{record.number} of {status.name}: {described(record, space)}"),
        ("state", ended_how(record)),
        ("epochs", f"{record.epochs} trained of {total} planned"),
    ]
    if record.metric is not None:
        last = record.last(space.objective.metric)
        text = f"{figure_of(record, space.objective)}; {percent(last, decimals=decimals)} at its last epoch"
        lines.append((space.objective.metric, f"{text}, {record.epochs}"))
        others = {name: value for name, value in best_metrics(record, status).items() if name != space.objective.metric}
        texts = [f"{name} {percent(one, decimals=decimals)}" for name, one in others.items() if math.isfinite(one)]
        lines.append((f"at epoch {record.best_epoch}", ", ".join(texts)))
    lines += _standing_facts(status, record)
    for anchor in status.trials:
        if anchor.anchors and (gain := record.against(anchor)) is not None:
            names = " and ".join(ANCHOR_NAMES[name] for name in anchor.anchors)
            lines.append((f"against {names}", percent(gain, sign=True, decimals=decimals)))
    lines += [
        ("time", f"{duration(record.seconds)} trained, {duration(max(record.held, record.seconds))} of a place held"),
        ("attempts", f"{record.attempts}" + (f", {record.crashes} of them crashed" if record.crashes else "")),
        ("folder", str(record.directory)),
        ("pictures", str(pictures) if (pictures := TrialFolder(record.directory).pictures).is_dir() else ""),
    ]
    return [(key, text) for key, text in lines if text]


def _standing_facts(status: SweepStatus, record: TrialRecord) -> list[tuple[str, str]]:
    """Return why a trial was trained, where not by the search, and what is believed of its configuration."""
    role = {"repeat": f"trains trial {record.of} again, to choose", "apart": f"kept apart, of trial {record.of}"}
    lines = [("role", role[record.role])] if record.role in role else []
    known = status.standing
    if known is None or (own := known.of(record)) is None:
        return lines
    space = status.files.space
    low, high = map(percent, sorted(measured(space, value) for value in own.interval))
    what = f"{percent(measured(space, own.mean))} [{low}, {high}] over seeds, by {len(own.trainings)} of its own "
    what += f"trainings and all others; best of all with probability {known.chances[own.number]:.2f}"
    return [*lines, ("expected", what)]


def _rival(status: SweepStatus, record: TrialRecord) -> TrialRecord | None:
    """Return the trial beside which a curve is drawn: the best, or the best anchor for the best itself."""
    anchors = [one for one in status.trials if one.anchors and one.metric is not None and one.number != record.number]
    best = status.best
    if best is not None and best.number != record.number:
        return best
    sign = 1.0 if status.files.space.objective.mode == "max" else -1.0
    return max(anchors, key=lambda one: sign * (one.metric or 0.0), default=None)


def _drawn(metric: str, curves: Sequence[Curve], legend: str, width: int) -> RenderResult:
    lines = plotted(curves, width=min(width, 100))
    if lines:
        yield Text(f"\n{metric} x100 by epoch:{legend}", style="bold")
        yield Text("\n".join(lines), no_wrap=True)


def _changes_table(changes: Any, heads: tuple[str, str], title: str) -> RenderableType:
    if not changes:
        return Text(f"{title} nothing")
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column(title, overflow="fold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for name, values in changes.items():
        table.add_row(name, *("-" if value is None else readable(value, name) for value in values))
    return table


def _metrics_table(status: SweepStatus, one: TrialRecord, other: TrialRecord, heads: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, highlight=False)
    table.add_column("at the best epoch")
    for head in (*heads, "difference"):
        table.add_column(head, justify="right", no_wrap=True)
    figures = [best_metrics(record, status) for record in (one, other)]
    decimals = decimals_of([record.metric for record in (one, other)])
    for name in {**figures[0], **figures[1]}:
        pair = [one.get(name) for one in figures]
        if not any(value is not None and math.isfinite(value) for value in pair):
            continue
        gain = None if None in pair else pair[1] - pair[0]  # type: ignore[operator]
        cells = [percent(value, decimals=decimals) for value in pair]
        table.add_row(f"{name} x100", *cells, percent(gain, sign=True, decimals=decimals))
    objective = status.files.space.objective
    if objective.value != "best" and None not in (one.metric, other.metric):
        cells = [percent(record.metric, decimals=decimals) for record in (one, other)]
        better = percent(other.against(one), sign=True, decimals=decimals)
        table.add_row(f"{objective.metric} x100, {title_of(objective)}", *cells, better)
    for row in _believed(status, (one, other)):
        table.add_row(*row)
    for anchor in status.trials:
        for name in anchor.anchors:
            gains = [record.against(anchor) for record in (one, other)]
            cells = [percent(gain, sign=True, decimals=decimals) for gain in gains]
            table.add_row(f"against {ANCHOR_NAMES[name]}", *cells, "")
    facts: dict[str, list[str]] = {
        "best epoch": [str(record.best_epoch or "-") for record in (one, other)],
        "epochs trained": [trained(record) for record in (one, other)],
        "state": [state_of(record) for record in (one, other)],
        "time": [duration(record.seconds) for record in (one, other)],
    }
    for name, texts in facts.items():
        table.add_row(name, *texts, "")
    return table


def _believed(status: SweepStatus, pair: Sequence[TrialRecord]) -> list[tuple[str, str, str, str]]:
    """Return rows of what is believed of the configurations of two trials; none where nothing is of either."""
    known = status.standing
    own = [known.of(record) if known is not None else None for record in pair]
    if known is None or own == [None, None]:
        return []
    space = status.files.space
    means = [None if one is None else measured(space, one.mean) for one in own]
    gain = None if None in means else means[1] - means[0]  # type: ignore[operator]
    chances = ["-" if one is None else f"{known.chances[one.number]:.2f}" for one in own]
    cells = [percent(mean) for mean in means]
    return [
        (f"{space.objective.metric} x100, expected over seeds", cells[0], cells[1], percent(gain, sign=True)),
        ("best of all with probability", chances[0], chances[1], ""),
    ]


def _facts(lines: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for key, text in lines:
        grid.add_row(key, Text(text))
    return grid


def _when(time: float) -> str:
    return datetime.datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M")


def _home_path(path: str) -> str:
    home = os.path.expanduser("~")
    return path if path == DRAWN or not path.startswith(home + os.sep) else "~" + path[len(home) :]
