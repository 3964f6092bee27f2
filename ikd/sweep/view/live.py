"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere, the ranking at the end."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ikd.config import Recipe, SearchSpace
from ikd.logs import Log
from ikd.sweep.records.text import decimals_of, duration, percent
from ikd.sweep.records.trials import TrialRecord, ranked
from ikd.sweep.view.layout import Row, laid_out
from ikd.sweep.view.ranking import STYLES, described, ended_how, state_of, trained
from ikd.trial import OPEN

LIVE_LINES = 30
"""Lines of the live table at most, and fewer in a lower terminal; the running trials and the best are kept."""

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
        self._line(f"trial {record.number} ({described(record, self._space)}) starts{again}")

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
        last = record.reports[-1].metrics.get(metric)
        value, best = (percent(one, decimals=decimals_of([last, record.metric])) for one in (last, record.metric))
        left = self.seconds_left()
        rest = f", about {duration(left)} left" if left is not None else ""
        epochs = record.total_epochs(self._recipe.total_epochs)
        self._line(f"trial {record.number}: epoch {record.epochs}/{epochs}, {metric} {value} (best {best}){rest}")

    def ended(self, record: TrialRecord) -> None:
        """Show that a trial has ended, or is interrupted."""
        best = percent(record.metric, decimals=decimals_of([record.metric]))
        self._line(f"trial {record.number}: {ended_how(record)}, best {best}")

    def say(self, text: str) -> None:
        """Something about the sweep as a whole."""
        self.keep(text)
        with contextlib.suppress(OSError):  # nobody listens any more: the terminal, or what read the pipe, has closed
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """Show a table or the like; the log gets it without colours."""
        if self._log is not None:
            plain = Console(file=io.StringIO(), width=140)
            plain.print(what)
            self.keep(plain.file.getvalue())  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            self._console.print(what)

    def _line(self, text: str) -> None:
        if self._live is None:
            self.say(text)
        else:
            self.keep(text)

    def keep(self, text: str) -> None:
        """Write a text into the log alone."""
        if self._log is not None:
            self._log.write(text)

    def render(self) -> RenderableType:
        """Return the live table: what runs first, then what waits, then the best; no higher than the terminal."""
        records = list(self._records())
        decimals = decimals_of(record.metric for record in records)
        titles = ["trial", "epoch", f"best {self._space.objective.metric}", "time", "state"]
        rows = [self._row(record, decimals) for record in self._by_interest(records)]
        head, lines = laid_out(titles, rows, self._console.width)
        shown = self._fitting(len(head), lines)
        ended = sum(record.state not in OPEN for record in records)
        left = self.seconds_left()
        rest = f"about {duration(left)} left" if left is not None else "time left: known after the first epoch"
        spent = duration(self._clock() - self._began)
        foot = f"{ended}/{self._space.budget.trials} trials ended, {spent} so far, {rest}; Ctrl-C saves and ends"
        hidden = f"and {len(rows) - shown} more: ikd status\n" if shown < len(rows) else ""
        return Group(*head, *lines[:shown], Text(hidden + foot))

    def _row(self, record: TrialRecord, decimals: int) -> Row:
        busy = self._notes.get(record.number)
        total = record.total_epochs(self._recipe.total_epochs)
        cells = [
            str(record.number),
            f"{record.epochs}/{total}" if record.state in OPEN else trained(record),
            percent(record.metric, decimals=decimals),
            duration(record.seconds),
            busy if busy and record.state == "running" else state_of(record),
        ]
        return Row(cells, described(record, self._space), STYLES[record.state])

    def _by_interest(self, records: list[TrialRecord]) -> list[TrialRecord]:
        order = ranked(records, self._space.objective.mode)
        place = {record.number: index for index, record in enumerate(order)}
        openness = {"running": 0, "waiting": 1}
        return sorted(records, key=lambda one: (openness.get(one.state, 2), place.get(one.number, len(order))))

    def _fitting(self, head: int, rows: Sequence[Text]) -> int:
        """Return how many rows have room below the head and above two lines of foot, which may break once more."""
        room, taken = min(LIVE_LINES, self._console.height - head - 4), 0
        for index, row in enumerate(rows):
            taken += 1 + row.plain.count("\n")
            if taken > room:
                return max(1, index)
        return len(rows)

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
