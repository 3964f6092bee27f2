"""When which trial of a sweep was where: what the study need not know, and a forecast does."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.errors import DiskFull
from ikd.files import append, parsed

FILE = "course.jsonl"
"""In the sweep's folder; one event a line. Without it a forecast is only rougher."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        time: seconds since 1970.
        what: of a driver: begin, over, or shared (something that trials share, with the state it was found in). Of a
            trial: given (handed to a worker), start (the worker has it), making (something shared), prepared (all that
            it shares is there), left (the worker has let go).
        trial: its number; -1 for the driver's.
        item: of making and shared: what.
        done: of making and shared: how much of it there is.
        total: of making and shared: how much there is to make.
    """

    time: float
    what: str
    trial: int = -1
    item: str = ""
    done: int = 0
    total: int = 0


class Course:
    """The events of a sweep, oldest first.

    Args:
        file: where they are kept, and where earlier drivers have; None keeps them in memory.
        clock: seconds since 1970.
    """

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._file, self._clock = file, clock
        self.events: list[Event] = read_course(file) if file is not None else []

    def note(self, what: str, trial: int = -1, item: str = "", done: int = 0, total: int = 0) -> None:
        """Add an event, now."""
        self.events.append(event := Event(round(self._clock(), 3), what, trial, item, done, total))
        if self._file is not None:
            with contextlib.suppress(OSError, DiskFull):  # never the reason why a sweep stops
                append(self._file, json.dumps(as_row(event)) + "\n")


def as_row(event: Event) -> list[Any]:
    """Return an event as plain values, without what it has none of."""
    row: list[Any] = [event.time, event.what]
    if event.item:
        return [*row, event.trial, event.item, event.done, event.total]
    return [*row, event.trial] if event.trial >= 0 else row


def read_course(file: Path) -> list[Event]:
    """Read the events of a sweep; none where there is no file, and torn lines are passed over."""
    found: list[Event] = []
    lines: Sequence[str] = file.read_text(errors="replace").splitlines() if file.is_file() else []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            found.append(Event(*parsed(line)))
    return found
