"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere, the ranking at the end."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ikd.config import Recipe, SearchSpace
from ikd.logs import Log
from ikd.sweep.records.text import duration, percent
from ikd.sweep.records.trials import TrialRecord, ranked
from ikd.sweep.view.ranking import STYLES, described, ended_how
from ikd.trial import OPEN

LIVE_ROWS = 24
"""Rows of the live table; the best and the running ones are kept."""

NOTE_LINE_SECONDS = 15.0
"""Plain output has at most one line per trial and this time on what it is busy with."""


class SweepView:
    """Shows a running sweep; the conductor's `Watcher`. Use as a context manager.

    Args:
        console: where to.
        space: what is searched.
        recipe: the base.
        records: returns the trials as they are now.
        slots: returns how many trials run at once.
        log: takes every line too, also those that a live table takes the place of.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        console: Console,
        space: SearchSpace,
        recipe: Recipe,
        *,
        records: Callable[[], Sequence[TrialRecord]],
        slots: Callable[[], int],
        log: Log | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
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
            with contextlib.suppress(OSError):  # the terminal has closed
                self._live.stop()

    def started(self, record: TrialRecord) -> None:
        """Show that a trial starts or goes on."""
        self._notes.pop(record.number, None)
        again = f", goes on after epoch {record.epochs}" if record.epochs else ""
        self._line(f"trial {record.number} ({described(record)}) starts{again}")

    def note(self, number: int, text: str) -> None:
        """Show what a trial is busy with."""
        self._notes[number] = text
        if self._clock() - self._noted.get(number, -NOTE_LINE_SECONDS) >= NOTE_LINE_SECONDS:
            self._noted[number] = self._clock()
            self._line(f"trial {number}: {text}")

    def reported(self, record: TrialRecord) -> None:
        """Show a new epoch of a trial."""
        self._notes.pop(record.number, None)
        metric = self._space.objective.metric
        value = percent(record.reports[-1].metrics.get(metric))
        left = self.seconds_left()
        rest = f", about {duration(left)} left" if left is not None else ""
        best = percent(record.metric)
        epochs = record.total_epochs(self._recipe.total_epochs)
        self._line(f"trial {record.number}: epoch {record.epochs}/{epochs}, {metric} {value} (best {best}){rest}")

    def ended(self, record: TrialRecord) -> None:
        """Show that a trial has ended, or is interrupted."""
        self._line(f"trial {record.number}: {ended_how(record)}, best {percent(record.metric)}")

    def say(self, text: str) -> None:
        """Something about the sweep as a whole."""
        self._keep(text)
        with contextlib.suppress(OSError):  # nobody listens any more: the terminal, or what read the pipe, has closed
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """Show a table or the like; the log gets it without colours."""
        if self._log is not None:
            plain = Console(file=io.StringIO(), width=140)
            plain.print(what)
            self._keep(plain.file.getvalue())  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            self._console.print(what)

    def _line(self, text: str) -> None:
        if self._live is None:
            self.say(text)
        else:
            self._keep(text)

    def _keep(self, text: str) -> None:
        if self._log is not None:
            self._log.write(text)

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
            cells = (
                str(record.number),
                described(record),
                state,
                epoch,
                percent(record.metric),
                duration(record.seconds),
            )
            table.add_row(*cells, style=STYLES[record.state])
        ended = sum(record.state not in OPEN for record in records)
        left = self.seconds_left()
        rest = f"about {duration(left)} left" if left is not None else "time left: known after the first epoch"
        spent = duration(self._clock() - self._began)
        foot = f"{ended}/{self._space.budget.trials} trials ended, {spent} so far, {rest}; Ctrl-C saves and ends"
        return Group(table, Text(foot))

    def _shown(self, records: list[TrialRecord]) -> list[TrialRecord]:
        if len(records) <= LIVE_ROWS:
            return records
        first = [record for record in records if record.state in OPEN or record.anchors]
        others = [record for record in ranked(records, self._space.objective.mode) if record not in first]
        kept = {record.number for record in [*first, *others][:LIVE_ROWS]}
        return [record for record in records if record.number in kept]

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
    open_ = [record for record in records if record.state in OPEN]
    goals = [one.total_epochs(epochs) if one.anchors else max(usual, one.epochs) for one in open_]
    running = sum(max(0.0, goal - one.epochs) for goal, one in zip(goals, open_, strict=True))
    if space.budget.epochs is not None:
        return min(running + to_come * usual, max(0, space.budget.epochs - trained)) * seconds / trained / slots
    return (running + to_come * usual) * seconds / trained / slots
