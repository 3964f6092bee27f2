"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere, the ranking at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ikd.config import Recipe, SearchSpace
from ikd.sweep._factorial import factorial_table
from ikd.sweep._pareto import pareto_front
from ikd.sweep._records import ANCHOR_NAMES, OPEN, TrialRecord, ranked
from ikd.sweep._text import duration, percent, readable

_STYLES = {
    "finished": "green", "running": "bold cyan", "waiting": "yellow", "stopped": "dim", "diverged": "red",
    "failed": "red",
}  # fmt: skip
COST_NAMES = {"gflops": "GFLOPs", "mparameters": "M params", "latency_ms": "ms", "gpu_hours": "GPU-h"}
"""Columns of costs."""
LIVE_ROWS = 24
"""Rows of the live table; the best and the running ones are kept."""

NOTE_LINE_SECONDS = 15.0
"""Plain output has at most one line per trial and this time on what it is busy with."""


def wide_console() -> Console:
    """Return a console on standard output; a pipe has no width, so tables get room there."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def ended_how(record: TrialRecord) -> str:
    """Return state and reason in one text."""
    return f"{record.state} ({record.reason})" if record.reason else record.state


def ranking(records: Sequence[TrialRecord], space: SearchSpace) -> RenderableType:
    """Return the trials, best first, with their distance to the anchors and costs; those without a result come last.

    A trial that was stopped early shows its best epoch so far, marked with *: it is not comparable with whole ones. A
    full factorial with repeats has a second table: mean and spread of each configuration.
    """
    anchors = {anchor: record for record in records for anchor in record.anchors}
    metric, mode = space.objective.metric, space.objective.mode
    table = Table(title=f"{metric} x100, best epoch of each trial", title_justify="left", highlight=False)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold", min_width=20)
    table.add_column(metric, justify="right", no_wrap=True)
    for anchor in anchors:
        table.add_column(f"vs {ANCHOR_NAMES[anchor]}", justify="right", min_width=7)
    for cost in space.costs:
        table.add_column(COST_NAMES[cost], justify="right", no_wrap=True)
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
            _what(record),
            percent(record.metric) + partial if has_result else "-",
            *gains,
            *costs,
            f"{record.best_epoch} of {record.epochs}" if has_result else f"- of {record.epochs}",
            duration(record.seconds),
            record.state,
            style=_STYLES[record.state] if record.state != "finished" else ("bold" if record.anchors else None),
        )
    lines = [
        f"trial {record.number} {ended_how(record)}" for record in records if record.state in ("failed", "diverged")
    ]
    if any(record.state != "finished" for record in order):
        lines.append("* not trained to the last epoch: its best so far, not comparable with whole trials")
    if front:
        lines.append("◆ on the Pareto front: no finished trial is as good in everything and better in something")
    lines.append("epochs: best of trained")
    factorial = factorial_table(records, space)
    shown: list[RenderableType] = [table, Text("\n".join(lines))]
    shown += [Text(), factorial] if factorial is not None else []
    return Group(*shown)


def _what(record: TrialRecord) -> str:
    taken = [f", from trial {one.source} at epoch {one.epoch}" for one in record.exploits]
    return record.name.removeprefix(f"{record.number} ") + "".join(taken)


def _gain(record: TrialRecord, anchor: TrialRecord) -> str:
    if record.number == anchor.number or record.metric is None or anchor.metric is None:
        return "-"
    return percent(record.metric - anchor.metric, sign=True)


class SweepView:
    """Shows a running sweep; the conductor's `Watcher`. Use as a context manager.

    Args:
        console: where to.
        space: what is searched.
        recipe: the base.
        records: returns the trials as they are now.
        slots: returns how many trials run at once.
        clock: seconds, monotonic.
    """

    def __init__(
        self, console: Console, space: SearchSpace, recipe: Recipe, *, records: Callable[[], Sequence[TrialRecord]],
        slots: Callable[[], int], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._console, self._space, self._recipe = console, space, recipe
        self._records, self._slots, self._clock = records, slots, clock
        self._notes: dict[int, str] = {}
        self._noted: dict[int, float] = {}
        self._live: Live | None = None
        self._began = clock()

    def __enter__(self) -> SweepView:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, record: TrialRecord) -> None:
        """A trial starts or goes on."""
        self._notes.pop(record.number, None)
        again = f", goes on after epoch {record.epochs}" if record.epochs else ""
        self._line(f"trial {record.number} ({_what(record)}) starts{again}")

    def note(self, number: int, text: str) -> None:
        """A trial says what it is busy with."""
        self._notes[number] = text
        if self._clock() - self._noted.get(number, -NOTE_LINE_SECONDS) >= NOTE_LINE_SECONDS:
            self._noted[number] = self._clock()
            self._line(f"trial {number}: {text}")

    def reported(self, record: TrialRecord) -> None:
        """A trial has a new epoch."""
        self._notes.pop(record.number, None)
        metric = self._space.objective.metric
        value = percent(record.reports[-1].metrics.get(metric))
        left = self.seconds_left()
        rest = f", about {duration(left)} left" if left is not None else ""
        best = percent(record.metric)
        epochs = record.total_epochs(self._recipe.total_epochs)
        self._line(f"trial {record.number}: epoch {record.epochs}/{epochs}, {metric} {value} (best {best}){rest}")

    def ended(self, record: TrialRecord) -> None:
        """A trial has ended, or is interrupted."""
        self._line(f"trial {record.number}: {ended_how(record)}, best {percent(record.metric)}")

    def say(self, text: str) -> None:
        """Something about the sweep as a whole."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _line(self, text: str) -> None:
        if self._live is None:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def render(self) -> RenderableType:
        """Return the live table."""
        records = list(self._records())
        table = Table(box=None, highlight=False)
        for title in ("trial", "what", "state", "epoch", f"best {self._space.objective.metric}", "time"):
            table.add_column(title, justify="left" if title in ("what", "state") else "right", no_wrap=title != "state")
        for record in self._shown(records):
            busy = self._notes.get(record.number)
            state = busy if busy and record.state == "running" else ended_how(record)
            epoch = f"{record.epochs}/{record.total_epochs(self._recipe.total_epochs)}"
            cells = (str(record.number), _what(record), state, epoch, percent(record.metric), duration(record.seconds))
            table.add_row(*cells, style=_STYLES[record.state])
        return Group(table, Text(self._foot(records)))

    def _shown(self, records: list[TrialRecord]) -> list[TrialRecord]:
        if len(records) <= LIVE_ROWS:
            return records
        first = [record for record in records if record.state in OPEN or record.anchors]
        others = [record for record in ranked(records, self._space.objective.mode) if record not in first]
        kept = {record.number for record in [*first, *others][:LIVE_ROWS]}
        return [record for record in records if record.number in kept]

    def _foot(self, records: list[TrialRecord]) -> str:
        ended = sum(record.state not in OPEN for record in records)
        left = self.seconds_left()
        rest = f"about {duration(left)} left" if left is not None else "time left: known after the first epoch"
        spent = duration(self._clock() - self._began)
        return f"{ended}/{self._space.budget.trials} trials ended, {spent} so far, {rest}; Ctrl-C saves and ends"

    def seconds_left(self) -> float | None:
        """Return an estimate of the time left, None before the first epoch."""
        return seconds_left(list(self._records()), self._space, self._recipe.total_epochs, self._slots())


def seconds_left(records: Sequence[TrialRecord], space: SearchSpace, epochs: int, slots: int) -> float | None:
    """Estimate the time left from the trials so far; None before the first epoch.

    Trials to come are taken to train as many epochs as the sampled ones that have ended did on average, all of them
    while none has.

    Args:
        records: the trials so far.
        space: its budget says how many are to come.
        epochs: of a sampled trial that nothing stops.
        slots: trials at once.
    """
    trained = sum(record.epochs for record in records)
    seconds = sum(record.seconds for record in records)
    if not trained or not seconds:
        return None
    ended = [record.epochs for record in records if record.state not in OPEN and not record.anchors]
    usual = sum(ended) / len(ended) if ended else epochs
    to_come = max(0, space.budget.trials - len(records))
    running = sum(max(0.0, (one.total_epochs(epochs) if one.anchors else max(usual, one.epochs)) - one.epochs)
                  for one in records if one.state in OPEN)  # fmt: skip
    if space.budget.epochs is not None:
        return min(running + to_come * usual, max(0, space.budget.epochs - trained)) * seconds / trained / slots
    return (running + to_come * usual) * seconds / trained / slots
