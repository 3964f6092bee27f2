"""The Ray that a sweep runs on: a private one or a running cluster, what it holds, and whether trials get going."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from ikd.config import Runner
from ikd.errors import BadInput, JobError, first_line
from ikd.files import remove_left_over
from ikd.progress import Loudness, library_level, loudness
from ikd.sweep.tune.environment import workers_environment
from ikd.sweep.tune.processes import shut_down, unsignalled
from ikd.world import import_path

OBJECT_STORE_BYTES = 80 * 2**20  # nothing large goes through it; 75 MiB is Ray's least
LONGEST_TEMP = 24
"""Characters of a folder that Ray can have its sockets under: their whole paths must stay under 107 bytes."""
ANSWER_SECONDS = 10.0
"""Within which the head of a cluster takes a connection."""
PERIOD_SECONDS = 10.0
"""How often a running sweep looks for nodes that came or went."""


@contextlib.contextmanager
def ray_session(runner: Runner) -> Iterator[None]:
    """Hold a Ray: the one this process is connected to, a private one, or a running cluster.

    A private Ray lives in a folder of its own and ends with the context; a cluster is joined as it is and only left.

    Raises:
        BadInput: there is no such cluster, or `ray.temp` is too long.
        JobError: a private Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    with _private_ray(runner) if runner.ray.address == "local" else _joined_ray(runner):
        yield


@contextlib.contextmanager
def _private_ray(runner: Runner) -> Iterator[None]:
    temp = _temp_of(runner)
    remove_left_over(Path(temp))
    folder = tempfile.mkdtemp(prefix=f"ikd-ray-{os.getpid()}-", dir=temp)
    try:
        with unsignalled(), _unheard():
            _start(runner, folder)
        yield
    finally:
        shut_down()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Have a Ray that starts in this block listen on this machine's loopback alone, not on all its addresses.

    Ray does so by itself where it starts no clusters (Windows, macOS), and replaces 127.0.0.1 given as an address.
    """
    constants: Any = ray._private.ray_constants
    usual, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = usual


def _start(runner: Runner, folder: str) -> None:
    cpus = math.ceil(runner.concurrency * runner.trial.cpus)
    for last in (False, False, True):
        try:
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=loudness() is Loudness.VERBOSE,
                logging_level=library_level(),
                _temp_dir=folder,
                job_config=_same_path(),
                runtime_env=_quoted_python(),
            )
            return
        except Exception as error:  # Ray raises just that when its processes take more than half a minute
            if last:
                raise JobError(f"Ray does not start on this machine: {first_line(error)}") from error
            shut_down()


@contextlib.contextmanager
def _joined_ray(runner: Runner) -> Iterator[None]:
    address = runner.ray.address
    try:
        try:
            if address != "auto":  # Ray itself would knock for minutes where nobody answers
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
            with unsignalled():
                ray.init(
                    address,
                    log_to_driver=loudness() is Loudness.VERBOSE,
                    logging_level=library_level(),
                    job_config=_same_path(),
                    runtime_env={"env_vars": workers_environment()},
                )
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            rule = "must be a Ray cluster that runs, reached from one of its nodes"
            advice = "a cluster with a token wants RAY_AUTH_MODE=token and the token here too"
            got = f"but got {address!r}: {first_line(error)}"
            raise BadInput(f"runner: ray.address: {rule} ({advice}), {got}") from error
        yield
    finally:
        ray.shutdown()


def _same_path() -> JobConfig:
    """Have workers import from where this process does, in the same order.

    Ray itself puts the folder in which the command was run first, whether this process imports from it or not, except
    for jobs of its client; that is all that such a job differs in here. It puts one folder after the other in front.
    """
    return JobConfig(_client_job=True, _py_driver_sys_path=import_path()[::-1])


def _quoted_python() -> dict[str, Any]:
    """Quote the interpreter's path where it needs it: Ray hands it to a shell as it is, and no worker would start."""
    quoted = shlex.quote(sys.executable)
    return {"py_executable": quoted} if quoted != sys.executable else {}


def _temp_of(runner: Runner) -> str:
    if runner.ray.temp is None:
        usual = tempfile.gettempdir()
        return usual if len(usual) <= LONGEST_TEMP else "/tmp"
    temp = str(Path(runner.ray.temp).expanduser().absolute())
    if len(temp) > LONGEST_TEMP or not os.access(temp, os.W_OK | os.X_OK):
        rule = (
            f"must be a folder that can be written, its path at most {LONGEST_TEMP} characters long for Ray's sockets"
        )
        raise BadInput(f"runner: ray.temp: {rule}, but got {temp!r}")
    return temp


def needs(runner: Runner) -> dict[str, float]:
    """Return what one trial asks of a node."""
    return {"CPU": runner.trial.cpus, "GPU": runner.trial.gpus}


def fitting_nodes(runner: Runner) -> dict[str, tuple[str, int]]:
    """Return the nodes that are there and hold at least one trial: id -> name and address, number of trials."""
    found = {}
    for node in ray.nodes():
        have = node["Resources"]
        places = [int(have.get(kind, 0.0) / amount + 1e-9) for kind, amount in needs(runner).items() if amount > 0]
        if node["Alive"] and min(places) > 0:
            found[node["NodeID"]] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", min(places)
    return found


def places(runner: Runner) -> int:
    """Return how many trials fit at once.

    Raises:
        BadInput: not even one.
    """
    if total := sum(count for _, count in fitting_nodes(runner).values()):
        return total
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for kind, amount in needs(runner).items():
        most = max((have.get(kind, 0.0) for have in nodes), default=0.0)
        if amount > most:
            whose = "this Ray" if len(nodes) == 1 else "the largest node of this Ray"
            rule = f"must be at most the {most:g} {kind}s of {whose}"
            raise BadInput(f"runner: trial.{kind.lower()}s: {rule}, but got {amount:g}")
    raise BadInput(f"runner: trial: must fit one node of this Ray, but none has {_amounts(needs(runner))} together")


class Standstill:
    """Notices that no trial gets going, and that nodes came or went: Ray itself waits for ever and says nothing.

    Args:
        runner: resources of a trial and how long one may take to begin.
        clock: seconds, monotonic.
    """

    def __init__(self, runner: Runner, clock: Callable[[], float] = time.monotonic) -> None:
        self._runner, self._clock = runner, clock
        self._running: set[int] = set()
        self._since = self._looked = clock()

    @property
    def running(self) -> bool:
        """Whether a worker is in a trial."""
        return bool(self._running)

    def begun(self, number: int) -> None:
        """Note that a worker has begun a trial."""
        self._running.add(number)

    def left(self, number: int) -> None:
        """Note that a worker has left a trial, or died in it."""
        self._running.discard(number)
        self._since = self._clock()

    def check(self) -> None:
        """Look at the clock.

        Raises:
            JobError: trials wait, and none has been running for `ray.start_seconds`.
        """
        if not self._running and self._clock() - self._since > self._runner.ray.start_seconds:
            raise standstill(self._runner)

    def room(self, slots: int) -> int:
        """Return how many trials fit at once now; `slots` when it is too early to look again or none fits."""
        if self._clock() - self._looked < PERIOD_SECONDS:
            return slots
        self._looked = self._clock()
        return min(self._runner.concurrency, sum(n for _, n in fitting_nodes(self._runner).values())) or slots


def standstill(runner: Runner, cause: str | None = None) -> JobError:
    """Return the error that says what Ray has, what a trial asks for and what is wrong."""
    asked = needs(runner)
    have, free = (
        _amounts({kind: total.get(kind, 0.0) for kind in asked})
        for total in (ray.cluster_resources(), ray.available_resources())
    )
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    waited = f"no trial has begun for {runner.ray.start_seconds:g} s (runner: ray.start_seconds)"
    return JobError(
        f"{waited}: {cause or _cause(runner)}. A trial asks for {_amounts(asked)}; Ray has {have} "
        f"on {nodes} node{'s' * (nodes != 1)}, of which {free} free. Nothing is lost; the same command goes on"
    )


def _cause(runner: Runner) -> str:
    if not fitting_nodes(runner):
        return "the nodes that could hold a trial have gone"
    job = ray.get_runtime_context().get_job_id()
    groups = {key: group["state"] for key, group in ray.util.placement_group_table().items()}
    given = any(state == "CREATED" for key, state in groups.items() if key.endswith(job))
    return dead_workers() if given else "others hold the resources"


def dead_workers() -> str:
    """Return that workers do not start, with the last line that Ray's processes here wrote to standard error."""
    logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
    files = [file for file in logs.glob("*.err") if file.stat().st_size]
    where = f"their logs are in {logs}"
    if files:
        latest = max(files, key=lambda file: file.stat().st_mtime)
        where = f"{latest.name}: {latest.read_text(errors='replace').strip().splitlines()[-1][:200]}"
    return f"Ray has room, but its worker processes do not start ({where})"


def _amounts(amounts: Mapping[str, float]) -> str:
    told = {kind: amount for kind, amount in amounts.items() if amount or kind == "CPU"}
    return ", ".join(f"{amount:g} {kind}{'s' * (amount != 1)}" for kind, amount in told.items())
