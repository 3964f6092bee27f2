"""Several processes for one trial: started, joined, watched, and ended with it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ikd.config import Recipe
from ikd.errors import BadInput, IkdError
from ikd.training.prepared import Prepared, device_of
from ikd.world import python_module

READY_SECONDS = 300.0
"""So long may the further processes take to import everything."""
GRACE_SECONDS = 10.0
"""So long after a process has ended its connections may show it to the others."""
SURROUNDINGS = {
    "GLOO_SOCKET_IFNAME": "lo",  # all processes of a trial are on one machine: nobody else hears them
    "NCCL_SOCKET_IFNAME": "lo",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "2",  # a broken group raises here; the default kills the process without a word
}
COLLECTIVE_LIMIT = timedelta(minutes=30)
"""A process that keeps the others waiting longer than this ends the trial: above the longest validation."""


@dataclass(frozen=True)
class Task:
    """What every process of a trial knows.

    Attributes:
        recipe: what to train.
        prepared: what was made for it.
        directory: of the trial; only the first process writes there.
        objective: metric and mode.
        start: checkpoint to go on from.
        scratch: folder for what is gone with the trial, the same for all.
        processes: how many there are.
        threads: of torch, in each of them.
        rank: which of them this is; 0 is the process that called `run_trial`.
    """

    recipe: Recipe
    prepared: Prepared
    directory: Path
    objective: tuple[str, str]
    start: Path | None
    scratch: Path
    processes: int
    threads: int
    rank: int = 0


def check_processes(recipe: Recipe, processes: int) -> None:
    """Refuse a number of processes that a recipe or this machine cannot have.

    Raises:
        BadInput: names the field, the value and what would be right.
    """
    if processes < 1:
        raise BadInput(f"processes: must be 1 or more, but got {processes}")
    if processes == 1:
        return
    if recipe.schedule.batch_size % processes:
        raise BadInput(
            f"recipe {recipe.name}: schedule.batch_size: must be a multiple of the {processes} processes of a trial, "
            f"which share it, but got {recipe.schedule.batch_size}"
        )
    gpus = torch.cuda.device_count()
    if device_of(recipe).type == "cuda" and processes > gpus:
        raise BadInput(f"processes: must be at most the {gpus} GPUs that this trial sees, but got {processes}")


@contextlib.contextmanager
def crew(task: Task) -> Iterator[None]:
    """Run the body as the first of `task.processes` processes; none of them is left behind, however it ends.

    Raises:
        RuntimeError: one of the others was killed.
    """
    if task.processes == 1:
        yield
        return
    others: list[_Other] = []
    try:
        others += [_Other(replace(task, rank=rank)) for rank in range(1, task.processes)]
        _await_ready(others, task)
        join(task)
        with _watched(others):
            yield
    except RuntimeError as error:  # how torch says that a peer is gone
        failure = _failure(others)
        if failure is None:
            raise
        raise failure from error
    finally:
        for other in others:
            other.end()
        leave()


def join(task: Task) -> None:
    """Make this process one of the trial's; returns when all have."""
    gpus = device_of(task.recipe).type == "cuda"
    if gpus:
        torch.cuda.set_device(task.rank)
    with _surroundings():
        dist.init_process_group(
            "nccl" if gpus else "gloo",
            init_method=f"file://{task.scratch / 'store'}",  # not a port: only this user can reach it
            rank=task.rank,
            world_size=task.processes,
            timeout=COLLECTIVE_LIMIT,
            # NCCL connects at once then, under these surroundings, and `barrier` need not guess the device
            device_id=torch.device("cuda", task.rank) if gpus else None,
        )


def ready(task: Task) -> None:
    """Tell the first process that this one has started."""
    (task.scratch / f"ready-{task.rank}").touch()


def leave() -> None:
    """Take this process out of the group, whatever state that is in."""
    if dist.is_initialized():
        _abort()  # the others may be gone: nothing is waited for
        dist.destroy_process_group()


def _abort() -> None:
    group = dist.group.WORLD
    assert group is not None
    group.abort()


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """Set what gloo and NCCL read when they connect; a variable that is set already is left alone."""
    absent = {name: value for name, value in SURROUNDINGS.items() if name not in os.environ}
    if not sys.platform.startswith("linux"):
        absent = {}
    os.environ.update(absent)
    try:
        yield
    finally:
        for name in absent:
            del os.environ[name]


class _Other:
    """A further process of the trial, as the first one sees it.

    It leads a group of its own, so that its data loaders end with it. It ends when its standard input closes, which
    happens however the first process dies; its standard output carries the exception that ended it.
    """

    def __init__(self, task: Task) -> None:
        self.rank = task.rank
        self._process = subprocess.Popen(
            python_module("ikd.training.follow"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is noticed when it is waited for
            self._process.stdin.write(pickle.dumps(task))
            self._process.stdin.flush()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def failed(self) -> bool:
        return bool(self._process.poll())

    def failure(self) -> Exception | None:
        """Return what ended the process; None when it has done its work or is still at it."""
        code = self._process.poll()
        if not code:
            return None
        assert self._process.stdout is not None
        if said := self._process.stdout.read():
            error: Exception = pickle.loads(said)
            return error
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return _Killed(f"training process {self.rank} {how}")

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class _Killed(RuntimeError):
    """A process of the trial was killed."""


def _await_ready(others: Sequence[_Other], task: Task) -> None:
    limit = time.monotonic() + READY_SECONDS
    while not all((task.scratch / f"ready-{other.rank}").exists() for other in others):
        if any(other.ended for other in others):
            raise RuntimeError("a training process ended before it was ready")
        if time.monotonic() > limit:
            raise RuntimeError(f"the {len(others)} further training processes were not ready in {READY_SECONDS:g} s")
        time.sleep(0.02)


@contextlib.contextmanager
def _watched(others: Sequence[_Other]) -> Iterator[None]:
    """Break the group when a process has failed and the connections do not show it, as on GPUs."""
    done, broken = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            if any(other.failed for other in others) and not done.wait(GRACE_SECONDS):
                broken.set()
                _abort()
                return

    thread = threading.Thread(target=watch, name="ikd-crew", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    if broken.is_set():  # what the last collectives returned is then not to be believed
        raise RuntimeError("a process of the trial has failed")


def _failure(others: Sequence[_Other]) -> Exception | None:
    """Return what the first process to fail said: errors of ours, then kills, then what these led to elsewhere."""
    limit = time.monotonic() + GRACE_SECONDS
    while not any(other.ended for other in others) and time.monotonic() < limit:
        time.sleep(0.05)
    time.sleep(0.5)  # the others notice too
    found = [error for other in others if (error := other.failure()) is not None]
    return min(found, key=_severity, default=None)


def _severity(error: Any) -> int:
    return 0 if isinstance(error, IkdError) else 1 if isinstance(error, _Killed) else 2
