"""How far a long piece of work is, for a person who waits."""

from __future__ import annotations

import sys


def show_progress(what: str, done: int, total: int) -> None:
    """Write how much of something is made to stderr: on one line of a terminal, else a line for each tenth."""
    end = "\n" if done >= total or not sys.stderr.isatty() else "\r"
    if end == "\r" or done >= total or done % max(1, total // 10) == 0:
        sys.stderr.write(f"{what}: {done}/{total}{end}")
        sys.stderr.flush()
