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

from rich.console import Console

BEAT_SECONDS = 1.5
"""Nobody waits longer than this without seeing that something goes on."""
VARIABLE = "IKD_LOUDNESS"
"""Environment variable that tells the workers of a command how much it prints."""
PIPE_COLUMNS = 140
_TO_THE_END = "\x1b[K"  # clears what a longer line left
_open: list[Work] = []
"""Pieces of work that somebody waits for, the innermost last."""


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

    Args:
        what: it is.
    """

    def __init__(self, what: str) -> None:
        self.what, self._began, self._terminal = what, time.monotonic(), sys.stderr.isatty()
        self._counted, self._tenth, self._lock = "", 0, threading.Lock()
        self._show(f"{what} ...")

    def _show(self, text: str) -> None:
        if loudness() is Loudness.QUIET:
            return
        sys.stderr.write(text)
        sys.stderr.flush()

    def _line(self) -> str:
        return f"\r{self.what} ... {self._counted}{time.monotonic() - self._began:.0f} s{_TO_THE_END}"

    def beat(self) -> None:
        """Show that it goes on."""
        with self._lock:
            self._show(self._line() if self._terminal else ".")

    def count(self, done: int, total: int) -> None:
        """Show how much of it is done: at once on a terminal, each tenth elsewhere."""
        with self._lock:
            self._counted = f"{done}/{total}, "
            if self._terminal:
                self._show(self._line())
            elif (tenth := 10 * done // max(1, total)) > self._tenth:
                self._tenth = tenth
                self._show(f" {done}/{total} ")

    def mention(self, what: str) -> None:
        """Show what takes long in it now; nothing, once it is done."""
        with self._lock:
            self._counted = f"{what}, " if what else ""
            if self._terminal:
                self._show(self._line())
            elif what:
                self._show(f" ({what}) ")

    def end(self) -> None:
        """Show that it is over, and how long it took."""
        with self._lock:
            self._show(f"{self._line()}\n" if self._terminal else f" {time.monotonic() - self._began:.0f} s\n")


@contextmanager
def working(what: str) -> Iterator[Work]:
    """Say on stderr that something is done, before it begins, and that it goes on, until it is over.

    A terminal shows one line with the seconds so far; elsewhere the line grows by a dot now and then.

    Args:
        what: is done: `evaluating the student on 32 images`.
    """
    work, over = Work(what), threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            work.beat()

    heart = threading.Thread(target=beat, name="ikd-heart", daemon=True)
    heart.start()
    _open.append(work)
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


def say(text: str) -> None:
    """Write a line of progress to stdout at once."""
    if loudness() is not Loudness.QUIET:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def wide_console() -> Console:
    """Return a console on standard output; a pipe has no width, so tables get room there (`COLUMNS` sets it)."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPE_COLUMNS)


def progress_console(console: Console) -> Console:
    """Return the console for progress: the same, or one that swallows it."""
    return Console(quiet=True) if loudness() is Loudness.QUIET else console
