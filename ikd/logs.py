"""Logs that people read: bounded, with times, and of no consequence; a full disk leaves them short, never a trial."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ikd.masking import masked
from ikd.visible import visible

MOST_BYTES = 1_000_000
"""A log that has grown beyond this becomes NAME.1 in place of the one before: at most twice as much is kept."""

LONGEST_LINE = 10_000
"""Characters of a line that is not ended yet, such as a progress bar, of which the end is kept."""


class Log:
    """A log that is appended to; whatever goes wrong with it is nobody's concern.

    Args:
        path: of the file; its folder need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        """Append lines without their secrets, each with the time (local, to the second) in front."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = [f"{stamp} {line}".rstrip() + "\n" for line in visible(masked(text)).rstrip("\n").split("\n")]
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_file() and self.path.stat().st_size > MOST_BYTES:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(lines)


class _Tee:
    """A stream that writes whole lines into a log too."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream, self._log, self._begun = stream, log, ""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more
            self._stream.write(text)
        *whole, self._begun = (self._begun + text).split("\n")
        if whole:
            self._log.write("\n".join(line.rpartition("\r")[2] for line in whole))
        self._begun = self._begun[-LONGEST_LINE:]
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def kept(log: Log) -> Iterator[None]:
    """Write what this process prints, warns of and logs into a log too while the block lasts.

    Handlers that logging made before keep writing where they wrote; mmengine makes its own for each training.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Tee(before[0], log), _Tee(before[1], log)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
