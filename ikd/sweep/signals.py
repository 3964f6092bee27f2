"""Ctrl-C and SIGTERM: the first saves and ends, the second ends at once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGTERM_GRACE_SECONDS = 20.0
"""Who sends SIGTERM (a batch system, a container) kills soon after; running epochs get this long."""


class StopNow(BaseException):
    """Raised in the driver to leave the running epochs; the study and the last checkpoints are intact."""


class Interrupts:
    """Counts signals and tells the sweep.

    Args:
        save: called at the first signal with its reason.
        clock: seconds, monotonic.
    """

    def __init__(self, save: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._save, self._clock = save, clock
        self._pending: list[int] = []
        self._told = False
        self._deadline: float | None = None

    def received(self, number: int, frame: FrameType | None = None) -> None:
        """Note a signal. Nothing else: a signal may arrive inside a database transaction."""
        self._pending.append(number)

    def beat(self) -> None:
        """Act on the signals received.

        Raises:
            StopNow: at the second signal, or when the grace after SIGTERM is over.
        """
        if self._pending and not self._told:
            self._told = True
            name = "Ctrl-C" if self._pending[0] == signal.SIGINT else "SIGTERM"
            if self._pending[0] == signal.SIGTERM:
                self._deadline = self._clock() + SIGTERM_GRACE_SECONDS
            self._save(f"{name}: ending the sweep")
        late = self._deadline is not None and self._clock() > self._deadline
        if len(self._pending) > 1 or late:
            raise StopNow


@contextlib.contextmanager
def listening(interrupts: Interrupts) -> Iterator[None]:
    """Take SIGINT and SIGTERM while the context lasts; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.signal(number, interrupts.received) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
