"""Where ikd keeps sweeps, caches and the local MLflow store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ikd.errors import refuse

Kind = Literal[
    "teachers",
    "perturbations",
    "boxes",
    "drawn",
    "checkpoints",
    "rehearsals",
    "checks",
    "coco",
    "costs",
    "fingerprints",
    "scores",
    "prototypes",
    "labels",
]


_NO_ADDRESS = "%?{}"
"""Characters of a path that SQLAlchemy and Optuna, which are given `sqlite:///PATH`, take for something else."""


def home() -> Path:
    """Return the ikd home: `$IKD_HOME` when set, else `~/ikd`.

    Below it lie `sweeps/NAME`, `cache/KIND`, `mlflow.db` and `mlartifacts`. Nothing is created here;
    whoever writes makes the folder.

    Raises:
        BadInput: it is a file, or SQLite databases in it would have no address.
    """
    path = Path(os.environ.get("IKD_HOME") or "~/ikd").expanduser().absolute()
    if set(str(path)) & set(_NO_ADDRESS):
        refuse(
            "IKD_HOME",
            f"must hold none of {' '.join(_NO_ADDRESS)}, which mean something else in a database's address",
            str(path),
        )
    if path.is_file():
        refuse("IKD_HOME", "must be a folder", str(path))
    return path


@contextlib.contextmanager
def at_home(path: Path) -> Iterator[None]:
    """Let `path` be the ikd home while the block lasts."""
    before = os.environ.get("IKD_HOME")
    os.environ["IKD_HOME"] = str(path)
    try:
        yield
    finally:
        os.environ.pop("IKD_HOME") if before is None else os.environ.update(IKD_HOME=before)


def cache(kind: Kind) -> Path:
    """Return the folder of the shared things of one kind."""
    return home() / "cache" / kind


BOUND = "IKD_STORE_GB"
BOUND_GB = 500.0


def store_bound() -> float:
    """Return how many bytes all perturbations may take together: `$IKD_STORE_GB` (10^9 bytes), or 500 GB.

    Raises:
        BadInput: the variable is no number above 0.
    """
    text = os.environ.get(BOUND) or str(BOUND_GB)
    try:
        bound = float(text)
    except ValueError:
        bound = 0.0
    if not bound > 0:
        refuse(BOUND, "must be a number of GB above 0", text)
    return bound * 1e9


WAIT_SECONDS = 2.0
_waits: ContextVar[Callable[[], None] | None] = ContextVar("waits", default=None)


@contextlib.contextmanager
def while_waiting(tell: Callable[[], None]) -> Iterator[None]:
    """In this thread, call `tell` every two seconds while `entry` waits for another process; it may raise to give up.

    A trial must hear of the sweep's end there: the trial it waits for may have been stopped with the lock in its hands.
    """
    before = _waits.set(tell)
    try:
        yield
    finally:
        _waits.reset(before)


@contextlib.contextmanager
def entry(kind: Kind, name: str) -> Iterator[Path]:
    """Hold one thing of a cache: of several processes one makes it, the others wait and find it; see `while_waiting`.

    Args:
        kind: of cache.
        name: of the file or folder in it, made from what the thing depends on; see `digest`.
    """
    path = cache(kind) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tell = _waits.get()
    lock = FileLock(lock_of(path))
    while not lock.is_locked:
        try:
            lock.acquire(timeout=-1 if tell is None else WAIT_SECONDS)
        except Timeout:
            if tell is not None:
                tell()
    try:
        yield path
    finally:
        lock.release()


def lock_of(path: Path) -> Path:
    """Return the lock file of a thing in a cache, beside it; whoever holds the lock makes or deletes the thing."""
    return path.with_name(f"{path.name}.lock")


def digest(content: Any) -> str:
    """Return 32 hexadecimal digits of the SHA-256 of plain values, the same for equal ones."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
