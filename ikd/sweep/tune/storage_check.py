"""Whether every node of the cluster can use the storage: asked of a worker on each before any trial."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ikd.config import Runner
from ikd.errors import BadInput, first_line
from ikd.sweep.storage.objects import delete, is_address, open_address, read, shown, write
from ikd.sweep.tune.cluster import dead_workers, fitting_nodes, standstill

SHARING_SECONDS = 10.0
"""A network file system may show a file of another node this late."""


def check_storage(runner: Runner, folder: Path, beat: Callable[[], None]) -> None:
    """Have a worker on every node that may run trials write into the storage and read what this process wrote there.

    Args:
        runner: names the storage.
        folder: of the sweep.
        beat: called while the workers start; may raise to stop at once.

    Raises:
        BadInput: a node cannot, or sees another folder than this process.
        JobError: the workers do not start.
    """
    token, storage = f"probe-{secrets.token_hex(8)}", runner.storage
    nodes = {node: name for node, (name, _) in fitting_nodes(runner).items()}
    filesystem, base = _place(storage, folder)
    written: list[str] = []
    try:
        first = f"{base}/{token}"
        try:
            write(filesystem, first, token.encode(), pauses=())
        except OSError as error:
            raise BadInput(_complaint(storage, folder, "this process", first_line(error))) from error
        written.append(first)
        remote = ray.remote(num_cpus=0, max_retries=0)(_probe)
        pending = {
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                storage, folder, token, node
            ): node
            for node in nodes
        }
        for reference in _all_ready(list(pending), runner, beat):
            node = pending[reference]
            written.append(f"{base}/{token}-{node}")
            if (problem := _problem(reference, node)) is None:
                problem = _unseen(filesystem, written[-1], token.encode())
            if problem is not None:
                raise BadInput(_complaint(storage, folder, f"node {nodes[node]}", problem))
    finally:
        for key in written:
            with contextlib.suppress(OSError):
                delete(filesystem, key)


def _place(storage: str | None, folder: Path) -> tuple[Any, str]:
    if storage is not None and is_address(storage):
        return open_address(storage)
    from pyarrow.fs import LocalFileSystem

    return LocalFileSystem(), str(folder)


def _probe(storage: str | None, folder: Path, token: str, node: str) -> str | None:
    """Return what is wrong on the node that this runs on."""
    filesystem, base = _place(storage, folder)
    try:
        if (unseen := _unseen(filesystem, f"{base}/{token}", token.encode())) is not None:
            return unseen
        write(filesystem, f"{base}/{token}-{node}", token.encode())
        return None
    except OSError as error:
        return first_line(error)


def _unseen(filesystem: Any, key: str, content: bytes) -> str | None:
    """Return what is wrong with a file that another machine has just written."""
    deadline = time.monotonic() + SHARING_SECONDS
    while True:
        try:
            return None if read(filesystem, key) == content else "it reads back something else than was written"
        except FileNotFoundError:
            if time.monotonic() > deadline:
                return "what one machine writes, the other does not see: it is not shared"
            time.sleep(0.2)
        except OSError as error:
            return first_line(error)


def _all_ready(references: list[Any], runner: Runner, beat: Callable[[], None]) -> Iterator[Any]:
    deadline = time.monotonic() + runner.ray.start_seconds + SHARING_SECONDS
    while references:
        beat()
        ready, references = ray.wait(references, num_returns=1, timeout=0.2)
        yield from ready
        if not ready and time.monotonic() > deadline:
            raise standstill(runner, dead_workers())


def _problem(reference: Any, node: str) -> str | None:
    """Return what went wrong in a node's probe; a node that has gone since needs none."""
    try:
        problem: str | None = ray.get(reference)
        return problem
    except ray.exceptions.RayError as error:
        alive = any(one["NodeID"] == node and one["Alive"] for one in ray.nodes())
        return f"a worker there cannot run ikd: {_last_line(error)}" if alive else None


def _complaint(storage: str | None, folder: Path, who: str, problem: str) -> str:
    if storage is not None and is_address(storage):
        rule = "must be an object store that every node can read and write (address, credentials in its environment)"
        return f"runner: storage: {rule}, but {who} has with {shown(storage)}: {problem}"
    rule = (
        "must be a folder that every node of the cluster can write and shares, or an address such as s3://bucket/path"
    )
    return f"runner: storage: {rule}, but {who} has with {folder}: {problem}"


def _last_line(error: BaseException) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
