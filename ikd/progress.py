"""What a person sees who waits: how far a long piece of work is, that it goes on at all, and tables with room."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ikd.visible import visible

BEAT_SECONDS = 1.5
"""Nobody waits longer than this without seeing that something goes on."""
VARIABLE = "IKD_LOUDNESS"
"""Environment variable that tells the workers of a command how much it prints."""
PIPE_COLUMNS = 140
_TO_THE_END = "\x1b[K"  # clears what a longer line left
_open: list[Work] = []
"""Pieces of work that somebody waits for, the innermost last."""
_lock = threading.RLock()  # one line is written at a time; a signal may come to whoever holds it


def _forget() -> None:
    """Leave to the process that this one was forked from what it shows, and the lock that it may have held."""
    global _lock
    _open.clear()
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget)


class Loudness(Enum):
    """How much a command prints: results and errors; progress too; what mmdet and Ray say, too."""

    QUIET = "quiet"
    USUAL = "usual"
    VERBOSE = "verbose"


def set_loudness(loudness: Loudness) -> None:
    """Set how much this process and those that it starts print."""
    if loudness is Loudness.USUAL:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = loudness.value


def loudness() -> Loudness:
    """Return how much is printed."""
    named = os.environ.get(VARIABLE, "")
    return Loudness(named) if named in [one.value for one in Loudness] else Loudness.USUAL


def library_level() -> int:
    """Return from which level on the logs of libraries are shown."""
    return logging.INFO if loudness() is Loudness.VERBOSE else logging.ERROR


class Work:
    """A piece of work that a person waits for; made by `working`.

    Others write between: whoever does ends the line of the work first (`line_free`), and the work begins another.

    Args:
        what: it is.
        late: say nothing of it before it has gone on for a beat, and leave no line on a terminal when it is over.
    """

    def __init__(self, what: str, *, late: bool = False) -> None:
        self.late = late
        self.what, self._began, self._terminal = what, time.monotonic(), sys.stderr.isatty()
        self._counted, self._mentioned, self._tenth, self._written = "", "", 0, False
        if not late:
            with _lock:
                self._show("")

    def _show(self, text: str, *, whole: bool = False) -> None:
        """Write on the line of the work; where it begins, with the name of it unless `text` is the `whole` line."""
        if loudness() is Loudness.QUIET:
            return
        for other in _open:
            if other is not self:
                other.leave()
        sys.stderr.write(text if self._written or whole else f"{visible(self.what)} ...{text}")
        sys.stderr.flush()
        self._written = True

    def _overwrite(self) -> None:
        seconds = time.monotonic() - self._began
        said = visible(f"{self.what} ... {self._counted}{seconds:.0f} s")
        self._show(f"\r{said}{_TO_THE_END}", whole=True)

    def leave(self) -> None:
        """Leave the line to somebody else."""
        if self._written:
            sys.stderr.write(f"\r{_TO_THE_END}" if self._terminal else "\n")
            sys.stderr.flush()
            self._written = False

    def beat(self) -> None:
        """Show that it goes on; a work within it shows that for both."""
        with _lock:
            if _open[-1:] != [self]:
                return
            if self._terminal:
                self._overwrite()
            else:
                self._show(f" ({visible(self._mentioned)}) " if self._mentioned else ".")
                self._mentioned = ""

    def count(self, done: int, total: int) -> None:
        """Show how much of it is done: at once on a terminal, each tenth elsewhere."""
        with _lock:
            self._counted = f"{done}/{total}, "
            if self._terminal:
                self._overwrite()
            elif (tenth := 10 * done // max(1, total)) > self._tenth:
                self._tenth = tenth
                self._show(f" {done}/{total} ")

    def mention(self, what: str) -> None:
        """Show what takes long in it now; nothing, once it is done. In a pipe only what goes on at the next beat."""
        with _lock:
            self._counted, self._mentioned = f"{what}, " if what else "", what
            if self._terminal:
                self._overwrite()

    def end(self) -> None:
        """Show that it is over, and how long it took."""
        with _lock:
            if self.late and (self._terminal or not self._written):
                self.leave()
                return
            if self._terminal:
                self._overwrite()
            self._show("\n" if self._terminal else f" {time.monotonic() - self._began:.0f} s\n")


@contextmanager
def working(what: str, *, late: bool = False) -> Iterator[Work]:
    """Say on stderr that something is done, before it begins, and that it goes on, until it is over.

    A terminal shows one line with the seconds so far; elsewhere the line grows by a dot now and then.

    Args:
        what: is done: `evaluating the student on 32 images`.
        late: it is quick as a rule; then nothing is said of it.
    """
    work, over = Work(what, late=late), threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            work.beat()

    _open.append(work)
    heart = threading.Thread(target=beat, name="ikd-heart", daemon=True)
    heart.start()
    try:
        yield work
    finally:
        _open.remove(work)
        over.set()
        heart.join()
        work.end()


@contextmanager
def mentioned(what: str) -> Iterator[None]:
    """Say in the line of the work that a person waits for, if anybody does, what takes long in it now.

    Args:
        what: is done: `indexing train.json`; empty where it is not worth a word.
    """
    work = _open[-1] if _open else None
    if work is None or not what:
        yield
        return
    work.mention(what)
    try:
        yield
    finally:
        work.mention("")


class Steps(ExitStack):
    """Says what is done, one step after the other; a context manager that ends the last one."""

    def __init__(self) -> None:
        super().__init__()
        self._work: Work | None = None

    @property
    def busy(self) -> bool:
        """Whether a step goes on."""
        return self._work is not None

    def next(self, what: str) -> None:
        """End the step before, and begin another; see `working`."""
        self.done()
        self._work = self.enter_context(working(what))

    def done(self) -> None:
        """End the step before, if there is one: somebody else writes now."""
        self._work = None
        self.close()

    def tell(self, lines: Iterable[str]) -> None:
        """End the step before, and say some lines."""
        self.done()
        for line in lines:
            say(line)

    def count(self, what: str, done: int, total: int) -> None:
        """Say how much of something is done; another thing is another step."""
        if self._work is None or self._work.what != what:
            self.next(what)
        assert self._work is not None
        self._work.count(done, total)


@contextmanager
def line_free() -> Iterator[None]:
    """Let nobody else write while the block does, which begins on a line of its own."""
    with _lock:
        for work in _open:
            work.leave()
        yield


def say(text: str) -> None:
    """Write a line of progress to stdout at once, between the dots of whatever goes on."""
    if loudness() is not Loudness.QUIET:
        with line_free():
            sys.stdout.write(visible(text) + "\n")
            sys.stdout.flush()


class PlainConsole(Console):
    """A console to which texts are nothing but texts: no markup, no emoji, no command to the terminal in them.

    Args:
        settings: of rich's console.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is shown; what rich itself tells the terminal stays."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def wide_console() -> Console:
    """Return a console on standard output; a pipe has no width, so tables get room there (`COLUMNS` sets it)."""
    console = PlainConsole()
    return console if console.is_terminal or "COLUMNS" in os.environ else PlainConsole(width=PIPE_COLUMNS)


def progress_console(console: Console) -> Console:
    """Return the console for progress: the same, or one that swallows it."""
    return Console(quiet=True) if loudness() is Loudness.QUIET else console
