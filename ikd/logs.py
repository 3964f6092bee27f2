"""Logs that people read: bounded, with times, and of no consequence; a full disk leaves them short, never a trial."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

MOST_BYTES = 1_000_000
"""A log that has grown beyond this becomes NAME.1 in place of the one before: at most twice as much is kept."""


class Log:
    """A log that is appended to; whatever goes wrong with it is nobody's concern.

    Args:
        path: of the file; its folder need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        """Append lines, each with the time (local, to the second) in front."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = [f"{stamp} {line}".rstrip() + "\n" for line in text.rstrip("\n").split("\n")]
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_file() and self.path.stat().st_size > MOST_BYTES:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(lines)
