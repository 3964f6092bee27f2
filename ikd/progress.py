"""What a person sees who waits at a terminal: how far a long piece of work is, and tables with room."""

from __future__ import annotations

import logging
import os
import sys
from enum import Enum

from rich.console import Console

VARIABLE = "IKD_LOUDNESS"
"""Environment variable that tells the workers of a command how much it prints."""
PIPE_COLUMNS = 140


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


def show_progress(what: str, done: int, total: int) -> None:
    """Write how much of something is made to stderr: on one line of a terminal, else a line for each tenth."""
    if loudness() is Loudness.QUIET:
        return
    end = "\n" if done >= total or not sys.stderr.isatty() else "\r"
    if end == "\r" or done >= total or done % max(1, total // 10) == 0:
        sys.stderr.write(f"{what}: {done}/{total}{end}")
        sys.stderr.flush()


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
