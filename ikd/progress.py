"""What a person sees who waits at a terminal: how far a long piece of work is, and tables with room."""

from __future__ import annotations

import sys

from rich.console import Console


def show_progress(what: str, done: int, total: int) -> None:
    """Write how much of something is made to stderr: on one line of a terminal, else a line for each tenth."""
    end = "\n" if done >= total or not sys.stderr.isatty() else "\r"
    if end == "\r" or done >= total or done % max(1, total // 10) == 0:
        sys.stderr.write(f"{what}: {done}/{total}{end}")
        sys.stderr.flush()


def say(text: str) -> None:
    """Write a line to stdout at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def wide_console() -> Console:
    """Return a console on standard output; a pipe has no width, so tables get room there."""
    console = Console()
    return console if console.is_terminal else Console(width=140)
