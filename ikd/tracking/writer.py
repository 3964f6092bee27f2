"""A queue and a daemon thread that deliver events in order, however the other side fares."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ikd.errors import DiskFull
from ikd.files import append, write_text
from ikd.masking import masked
from ikd.tracking.events import SAID, Event

_log = logging.getLogger("ikd.tracking")

ATTEMPTS = 3  # for an event that fails although the server answers
THREAD = "ikd-tracking"
GIVE_UP_SECONDS = 5.0  # close() waits no longer than this for a server that does not answer


class Rejected(Exception):
    """The server answered and will never take this event."""


class Refused(Exception):
    """The server answered, and does not let this user write; it may when somebody grants it."""


class Sink(Protocol):
    """The other side of a tracker, for instance MLflow."""

    @property
    def place(self) -> str:
        """What is written to, for messages."""

    def open(self, sweep_id: str) -> None:
        """Take what tells the sweep from others of its name; called before the first event, contacts nobody."""

    def close(self) -> None:
        """Undo what `open` did; called by the thread that delivers, when it delivers nothing more."""

    def deliver(self, event: Event) -> None:
        """Write one event.

        Raises:
            Rejected: trying again is useless.
            Refused: nothing is let through before somebody grants it.
            Exception: trying again may help.
        """

    def fault(self) -> str | None:
        """Say why nothing at all can be written now, or None when something can."""


class Writer:
    """Delivers events in order from a thread of its own.

    While the other side does not answer, events are also appended to the spool file, so that not even the end of this
    process loses them; the next writer on the same file delivers them first.

    Args:
        sink: the other side, opened; used by the thread only, which closes it.
        spool: the file for what could not be delivered yet; None keeps it in memory only.
        waits: seconds before the first and, at most, between later attempts; doubled in between.
    """

    def __init__(self, sink: Sink, spool: Path | None = None, *, waits: tuple[float, float] = (0.5, 30.0)) -> None:
        self._sink = sink
        self._spool = spool
        self._waits = waits
        self._changed = threading.Condition()
        self._pending: deque[Event] = deque()
        self._spool_failed = False
        self._num_spooled = 0  # how many of the first pending events are in the file
        self._stopping = False
        self._hurry = False  # somebody waits: try now instead of waiting out the pause
        self._down_since: float | None = None
        self._read_spool()
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Take an event; returns at once."""
        assert not self._stopping, "the tracker is closed"
        with self._changed:
            self._pending.append(event)
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is delivered, at most `timeout` seconds."""
        return self._wait_empty(lambda waited: waited >= timeout)

    def close(self, timeout: float) -> int:
        """Deliver what can be delivered, keep the rest in the spool file, stop; returns how many were not delivered."""
        start = time.monotonic()

        def hopeless(waited: float) -> bool:
            down = self._down_since
            return waited >= timeout or (down is not None and time.monotonic() - max(down, start) > GIVE_UP_SECONDS)

        self._wait_empty(hopeless)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)  # it may hang in a request; it is a daemon, and what it holds is spooled below
        with self._changed:
            left = list(self._pending)
        if self._spool is not None:
            self._rewrite_spool(left)
        return len(left)

    def _wait_empty(self, give_up: Callable[[float], bool]) -> bool:
        start = time.monotonic()
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._pending and self._thread.is_alive() and not give_up(time.monotonic() - start):
                self._changed.wait(0.05)
            return not self._pending

    def _run(self) -> None:
        try:
            self._deliver()
        finally:
            self._sink.close()  # not before: a request may hang for seconds after `close` has returned

    def _deliver(self) -> None:
        attempts, wait = 0, self._waits[0]
        while (event := self._next()) is not None:
            outcome = self._attempt(event, attempts)
            if outcome == "done":
                self._drop_first()
                attempts, wait = 0, self._waits[0]
                continue
            attempts = attempts + 1 if outcome == "retry" else 0
            self._pause(wait)
            wait = min(2 * wait, self._waits[1])

    def _next(self) -> Event | None:
        with self._changed:
            while not self._pending and not self._stopping:
                self._changed.wait()
            return None if self._stopping else self._pending[0]

    def _attempt(self, event: Event, attempts: int) -> str:
        try:
            self._sink.deliver(event)
        except Exception as error:  # whatever it is, it must not end the sweep
            if self._stopping:  # close() keeps the event
                return "down"
            fault = self._fault(error)
            if fault:
                if self._down_since is None:
                    _log.warning("tracking: %s; the sweep goes on, its results are %s", fault, self._kept(event, error))
                    self._down_since = time.monotonic()
                return "down"
            if not isinstance(error, Rejected) and attempts + 1 < ATTEMPTS:
                return "retry"
            owner = f"sweep {event.sweep}" if event.number is None else f"trial {event.number} of sweep {event.sweep}"
            _log.warning(
                "tracking: %s of %s could not be written and is left out: %s",
                SAID[event.kind],
                owner,
                masked(str(error)),
            )
        if self._down_since is not None:
            _log.info("tracking: the server answers again")
            self._down_since = None
        return "done"

    def _fault(self, error: Exception) -> str:
        """Say why nothing at all can be written now; empty where this event alone cannot."""
        if isinstance(error, Refused):
            return str(error)
        return "" if isinstance(error, Rejected) else self._sink.fault() or ""

    def _kept(self, event: Event, error: Exception) -> str:
        kept = f"kept in {self._spool}" if self._spool else "kept in memory"
        if isinstance(error, Refused):
            return f"{kept}; when it is granted they are sent, or afterwards by `ikd track rebuild {event.sweep}`"
        return f"{kept} and sent later"

    def _drop_first(self) -> None:
        if self._num_spooled == 1 and self._spool is not None:  # the last one in the file
            self._spool.unlink(missing_ok=True)
        with self._changed:
            if self._stopping:  # close() has taken over what is pending
                return
            self._pending.popleft()
            self._num_spooled = max(0, self._num_spooled - 1)
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self._append_spool()
            with self._changed:
                left = end - time.monotonic()
                if left <= 0 or self._stopping:
                    return
                if self._hurry:
                    left = min(left, self._waits[0])
                    end = time.monotonic() + left
                    self._hurry = False
                self._changed.wait(left)

    def _read_spool(self) -> None:
        if self._spool is None or not self._spool.exists():
            return
        torn = False
        for line in self._spool.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                self._pending.append(Event.from_line(line, self._spool.absolute().parent))
            except ValueError:
                torn = True
                _log.warning("tracking: an unreadable line in %s was left out", self._spool)
        if torn:  # what is appended to half a line would be unreadable too
            self._rewrite_spool(list(self._pending))
        self._num_spooled = len(self._pending)

    def _append_spool(self) -> None:
        with self._changed:
            new = list(self._pending)[self._num_spooled :] if not self._stopping else []
        if self._spool is None or not new:
            return
        try:
            append(self._spool, self._lines(new))
        except (OSError, DiskFull) as error:
            if not self._spool_failed:
                _log.warning("tracking: cannot write %s (%s); results are kept in memory", self._spool, error)
            self._spool_failed = True  # tried again with the next attempt at delivery: a disk may be emptied
            return
        with self._changed:
            self._num_spooled += len(new)

    def _lines(self, events: list[Event]) -> str:
        assert self._spool is not None
        folder = self._spool.absolute().parent
        return "".join(event.to_line(folder) for event in events)

    def _rewrite_spool(self, events: list[Event]) -> None:
        assert self._spool is not None
        if not events:
            self._spool.unlink(missing_ok=True)
            return
        try:
            write_text(self._spool, self._lines(events))
        except (OSError, DiskFull) as error:
            _log.warning("tracking: cannot write %s (%s); %d results are lost", self._spool, error, len(events))
