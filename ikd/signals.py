"""What ends a command from outside: SIGTERM (systemd, a batch system, a container), SIGHUP (a terminal that closes)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command; Ctrl-C (SIGINT) is Python's own."""

Handler = Callable[[int, FrameType | None], object]

_RECEIVED: ContextVar[Sequence[int]] = ContextVar("received", default=())
"""Signals that the block of `ended_by_signals` has received, the first of which ends it."""


class Ended(BaseException):
    """Raised in the main thread by a signal that ends the command.

    Attributes:
        number: of the signal.
        advice: how to go on; empty where there is nothing to go on with.
    """

    def __init__(self, number: int, advice: str = "") -> None:
        self.number, self.advice = number, advice
        super().__init__(number)

    def __str__(self) -> str:
        return f"{signal.Signals(self.number).name}: ended" + (f"; {self.advice}" if self.advice else "")

    @property
    def exit_status(self) -> int:
        """128 and the signal's number, as of a program that a signal killed in a shell: 143 after SIGTERM."""
        return 128 + self.number


@contextlib.contextmanager
def handled(numbers: tuple[int, ...], handler: Handler) -> Iterator[None]:
    """Take signals while the block lasts; only the main thread can, and what is ignored (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {number: signal.getsignal(number) for number in numbers}
    taken = {number: was for number, was in usual.items() if was is not signal.SIG_IGN}
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, was in taken.items():
            signal.signal(number, was)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave the block as an exception, so that whatever is open is closed and removed.

    Raises:
        Ended: at the first signal, also where what it did to helping processes has become another exception first.
    """
    owner, received = os.getpid(), list[int]()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a data loader that was forked: it has nothing to close
            os._exit(128 + number)
        received.append(number)
        if len(received) == 1:
            raise Ended(number)

    token = _RECEIVED.set(received)
    try:
        with handled(ENDING, end), advising(str):
            yield
    finally:
        _RECEIVED.reset(token)


@contextlib.contextmanager
def advising(advice: Callable[[], str]) -> Iterator[None]:
    """Say how to go on when a signal ends the block; `advice` is called then.

    Raises:
        Ended: a signal has ended the block, also where what it did to helping processes (a loader that died, say) has
            become another exception on the way here.
    """
    try:
        yield
    except Ended as ended:
        ended.advice = ended.advice or advice()
        raise
    except BaseException as error:
        if received := _RECEIVED.get():
            raise Ended(received[0], advice()) from error
        raise


def tell(ended: Ended) -> int:
    """Tell that a signal has ended the command, where somebody still listens; return the exit status."""
    sys.unraisablehook = lambda unraisable: None  # what the signal left half made complains when it is taken down
    with contextlib.suppress(OSError):  # the terminal has closed
        sys.stderr.write(f"{ended}\n")
        sys.stderr.flush()
    return ended.exit_status
