"""Ray's own processes: deaf to signals that are meant for the driver, and gone when the sweep is."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from ikd.signals import ENDING

GONE_SECONDS = 2.0
"""What Ray's processes get to end by themselves once the ones they belong to have gone."""
PROC = Path("/proc")


@contextlib.contextmanager
def unsignalled() -> Iterator[None]:
    """Start Ray in this block: its processes are deaf to what ends the driver, which keeps its handlers.

    SIGTERM to a process group, or to all processes of a service or container, would end Ray under the trials that the
    driver is about to save. Blocked signals are inherited by whatever a process starts, workers and their loaders too.
    """
    utils: Any = ray._private.utils
    usual = utils.set_sigterm_handler
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    utils.set_sigterm_handler = lambda handler: None  # it would leave the middle of whatever the driver does
    try:
        yield
    finally:
        utils.set_sigterm_handler = usual
        for number in ENDING if threading.current_thread() is threading.main_thread() else ():
            signal.signal(number, signal.getsignal(number) or signal.SIG_DFL)  # Ray's C++ has put its own over it
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def shut_down() -> None:
    """End a private Ray with everything it started, data loaders of trials included."""
    node: Any = ray._private.worker._global_node
    own = [info.process for infos in node.all_processes.values() for info in infos] if node is not None else []
    family = {pid: began for process in own for pid, began in _family(process.pid).items()}
    for process in own:
        process.terminate = process.kill  # being deaf to SIGTERM, each would be waited for
    try:
        ray.shutdown()
    finally:
        _bury(family)


def _family(pid: int) -> dict[int, str]:
    """Return a process and all below it, with when each began; nothing where there is no /proc."""
    table = {int(entry.name): found for entry in PROC.glob("[0-9]*") if (found := _parent_and_birth(entry)) is not None}
    family, new = dict[int, str](), [pid] if pid in table else []
    while new:
        family |= {one: table[one][1] for one in new}
        new = [one for one, (parent, _) in table.items() if parent in new and one not in family]
    return family


def _parent_and_birth(entry: Path) -> tuple[int, str] | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return None
    return None if fields[0] == "Z" else (int(fields[1]), fields[19])


def _bury(family: dict[int, str]) -> None:
    """Wait until processes have gone; kill what stays."""
    deadline = time.monotonic() + GONE_SECONDS
    for number in (0, signal.SIGKILL):
        while left := [pid for pid, began in family.items() if _is(pid, began)]:
            for pid in left if number else ():
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        deadline = time.monotonic() + GONE_SECONDS


def _is(pid: int, began: str) -> bool:
    found = _parent_and_birth(PROC / str(pid))
    return found is not None and found[1] == began
