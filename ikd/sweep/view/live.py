"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere, the ranking at the end."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ikd.config import Recipe, SearchSpace
from ikd.logs import Log
from ikd.progress import BEAT_SECONDS, PlainConsole, Steps
from ikd.sweep.confirm.standing import Standing
from ikd.sweep.records.text import decimals_of, duration, percent
from ikd.sweep.records.trials import TrialRecord, ranked
from ikd.sweep.view.layout import Row, laid_out
from ikd.sweep.view.ranking import STYLES, described, ended_how, state_of, title_of, trained
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
        left: returns the time left, for people.
        known: returns what is believed of the configurations of some trials, for the order of the live table.
        log: takes every line too, also those that a live table takes the place of.
        clock: seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913 - what a view can be shown, each by its name
        self,
        console: Console,
        space: SearchSpace,
        recipe: Recipe,
        *,
        records: Callable[[], Sequence[TrialRecord]],
        left: Callable[[], str],
        known: Callable[[Sequence[TrialRecord]], Standing | None] = lambda records: None,
        log: Log | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._console, self._space, self._recipe = console, space, recipe
        self._records, self._left, self._clock = records, left, clock
        self._known: Callable[[Sequence[TrialRecord]], Standing | None] = known
        self._believed: tuple[int, Standing | None] = (-1, None)
        self._notes: dict[int, str] = {}
        self._noted: dict[int, float] = {}
        self._live: Live | None = None
        self._began = self._said = clock()
        self._waiting = Steps()

    def __enter__(self) -> SweepView:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # the terminal has closed
            self._waiting.done()
            if self._live is not None:
                self._live.stop()

    def waiting(self, what: str) -> None:
        """Show that something else than a trial takes time: in a log, whose reader sees no table."""
        if self._live is None and self._console.file is sys.stdout:
            with contextlib.suppress(OSError):
                self._waiting.next(what)

    def beat(self) -> None:
        """Show that it goes on, where nothing has been said for a while."""
        if self._live is None and not self._waiting.busy and self._clock() - self._said > BEAT_SECONDS:
            self.waiting(f"{self._ended()}, {self._left()}")

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
        value, best = (percent(one, decimals=decimals_of([last, record.best])) for one in (last, record.best))
        epochs = record.total_epochs(self._recipe.total_epochs)
        self._line(
            f"trial {record.number}: epoch {record.epochs}/{epochs}, {metric} {value} (best {best}), {self._left()}"
        )

    def ended(self, record: TrialRecord) -> None:
        """Show that a trial has ended, or is interrupted."""
        value = percent(record.metric, decimals=decimals_of([record.metric]))
        self._line(f"trial {record.number}: {ended_how(record)}, {title_of(self._space.objective)} {value}")

    def say(self, text: str) -> None:
        """Something about the sweep as a whole."""
        self.keep(text)
        self._said = self._clock()
        with contextlib.suppress(OSError):  # nobody listens any more: the terminal, or what read the pipe, has closed
            self._waiting.done()
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """Show a table or the like; the log gets it without colours."""
        if self._log is not None:
            plain = PlainConsole(file=io.StringIO(), width=140)
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
        titles = [
            "trial",
            "epoch",
            f"{title_of(self._space.objective)} {self._space.objective.metric}",
            "time",
            "state",
        ]
        rows = [self._row(record, decimals) for record in self._by_interest(records)]
        head, lines = laid_out(titles, rows, self._console.width)
        shown = self._fitting(len(head), lines)
        spent = duration(self._clock() - self._began)
        foot = f"{self._ended()}, {spent} so far, {self._left()}; Ctrl-C saves and ends"
        hidden = f"and {len(rows) - shown} more: ikd status\n" if shown < len(rows) else ""
        return Group(*head, *lines[:shown], Text(hidden + foot))

    def _ended(self) -> str:
        ended = sum(record.state not in OPEN for record in self._records())
        return f"{ended}/{self._space.budget.trials} trials ended"

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
        order = self._best_first(records)
        place = {record.number: index for index, record in enumerate(order)}
        openness = {"running": 0, "waiting": 1}
        return sorted(records, key=lambda one: (openness.get(one.state, 2), place.get(one.number, len(order))))

    def _best_first(self, records: list[TrialRecord]) -> list[TrialRecord]:
        """Return what has a result: by what is expected of it, as the ranking does, then by what it has so far."""
        ended = sum(record.state not in OPEN for record in records)
        if self._believed[0] != ended:  # the table is drawn twice a second
            self._believed = ended, self._known(records)
        known = self._believed[1]
        expected = [] if known is None else [one.trainings[0] for one in known.configurations]
        rest = ranked(records, self._space.objective.mode)
        return [*expected, *(one for one in rest if one.number not in {record.number for record in expected})]

    def _fitting(self, head: int, rows: Sequence[Text]) -> int:
        """Return how many rows have room below the head and above two lines of foot, which may break once more."""
        room, taken = min(LIVE_LINES, self._console.height - head - 4), 0
        for index, row in enumerate(rows):
            taken += 1 + row.plain.count("\n")
            if taken > room:
                return max(1, index)
        return len(rows)
