"""Ctrl-C, SIGTERM and SIGHUP in a sweep: the first saves and ends, the second ends at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType

from ikd.signals import ENDING, handled

GRACE_SECONDS = 10.0
"""Who sends SIGTERM or SIGHUP kills soon after; running epochs get this long, so that all is over within 20 s."""


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

    @property
    def first(self) -> int:
        """Number of the signal that came first, 0 for none."""
        return self._pending[0] if self._pending else 0

    def received(self, number: int, frame: FrameType | None = None) -> None:
        """Note a signal. Nothing else: a signal may arrive inside a database transaction.

        Raises:
            StopNow: at the third one, wherever that is: nobody has looked at the first two.
        """
        signal.alarm(0)  # while Ray starts its own handler comes first, and would abort the process 3 seconds later
        self._pending.append(number)
        if len(self._pending) > 2 and not self._told:
            raise StopNow

    def beat(self) -> None:
        """Act on the signals received.

        Raises:
            StopNow: at the second signal, or when the grace after SIGTERM or SIGHUP is over.
        """
        if self._pending and not self._told:
            self._told = True
            if self.first in ENDING:
                self._deadline = self._clock() + GRACE_SECONDS
            name = "Ctrl-C" if self.first == signal.SIGINT else signal.Signals(self.first).name
            self._save(f"{name}: ending the sweep")
        late = self._deadline is not None and self._clock() > self._deadline
        if len(self._pending) > 1 or late:
            raise StopNow


def listening(interrupts: Interrupts) -> AbstractContextManager[None]:
    """Take SIGINT, SIGTERM and SIGHUP while the context lasts; only the main thread can."""
    return handled((signal.SIGINT, *ENDING), interrupts.received)
