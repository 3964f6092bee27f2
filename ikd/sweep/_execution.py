"""The Ray Tune side: searcher, scheduler and stopper ask the conductor; nothing of theirs is ever restored."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from ikd.config import Runner
from ikd.errors import BadInput
from ikd.sweep._conductor import Conductor
from ikd.sweep._worker import Job, train

LEFT_OVER_SECONDS = 600.0
"""Age of a dead driver's Ray folder before it is removed; its last processes linger for half a minute."""
OBJECT_STORE_BYTES = 80 * 2**20  # nothing large goes through it; 75 MiB is Ray's least


class _Detached:
    """Pickles to an empty copy: Tune writes its searcher into its own folder, which nobody reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StudySearcher(_Detached, Searcher):
    """Hands the study's trials to Tune: the only bridge between them."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next trial, None for later, or the end."""
        if (assignment := self._conductor.next_trial()) is not None:
            self._numbers[trial_id] = assignment.number
            values, anchor = dict(assignment.values), next(iter(assignment.anchors), None)
            return {"number": assignment.number, "values": values, "anchor": anchor, "recorded": assignment.recorded}
        over = not self._conductor.busy and not self._conductor.has_work()
        return Searcher.FINISHED if over else None

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Learn that Tune has let go of a trial."""
        self._conductor.closed(self._numbers[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the study has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing."""


class StudyScheduler(_Detached, FIFOScheduler):
    """Takes the workers' messages to the conductor and its decisions back."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Deal with one message; decide whether the trial goes on."""
        if "message" not in result:  # Tune's own note that the function has returned
            return TrialScheduler.CONTINUE
        message = json.loads(result["message"])
        kind, number = message.pop("kind"), trial.config["number"]
        if kind == "end":
            self._conductor.end(number, message.pop("state"), message.pop("reason"), **message)
            return TrialScheduler.STOP
        if kind == "start":
            message.pop("pid")
        handlers: dict[str, Callable[..., bool]] = {
            "start": self._conductor.started,
            "data": self._conductor.data,
            "note": self._conductor.note,
            "epoch": self._conductor.report,
        }
        stop: bool = handlers[kind](number, **message)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Grant a trial the retries it has left, over restarts too; called again after every crash."""
        left = self._conductor.retries_left(trial.config["number"])
        trial.max_failures = trial.run_metadata.num_failures + left

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker died or the trial raised: Tune calls this for every attempt, also when it will try again."""
        self._conductor.crashed(trial.config["number"], _reason(trial.error_file))


class StudyStopper(tune.Stopper):
    """Gives the conductor its heartbeat, and ends the sweep when it says so."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials are stopped by the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Beat; raises what the beat raises."""
        self._beat()
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.stopper.NoopStopper, ()


def execute(
    conductor: Conductor, job: Job, runner: Runner, *, beat: Callable[[], None], guard: AbstractContextManager[None]
) -> None:
    """Run trials until the conductor has none left or is interrupted.

    Args:
        conductor: decides.
        job: what all trials share.
        runner: resources of a trial.
        beat: called several times a second; may raise to stop at once.
        guard: held while trials run; entered after Ray has started, because Ray takes SIGTERM for itself.

    Raises:
        BadInput: the machine or cluster cannot hold one trial.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # crashes stand in the table and in error.txt
    with ray_session(runner), guard, tempfile.TemporaryDirectory(prefix="ikd-tune-") as scratch:
        conductor.slots = min(runner.concurrency, _capacity(runner))
        resources = {"cpu": runner.trial.cpus, "gpu": runner.trial.gpus}
        tuner = tune.Tuner(
            tune.with_resources(functools.partial(train, job=job), resources),
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(conductor),
                scheduler=StudyScheduler(conductor),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                stop=StudyStopper(beat),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=runner.trial.max_retries),
            ),
        )
        tuner.fit()


@contextlib.contextmanager
def ray_session(runner: Runner) -> Iterator[None]:
    """Hold a Ray: the one this process is connected to, a private one, or a running cluster.

    A private Ray lives in a folder of its own and ends with the context; a cluster is only left.
    """
    if ray.is_initialized():
        yield
        return
    remove_left_over(Path(_short_temp()))
    folder = Path(tempfile.mkdtemp(prefix=f"ikd-ray-{os.getpid()}-", dir=_short_temp()))
    try:
        ray.init(**_init_arguments(runner, folder))
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _init_arguments(runner: Runner, folder: Path) -> dict[str, Any]:
    common = {"address": runner.ray.address, "log_to_driver": False, "logging_level": "ERROR"}
    if runner.ray.address != "local":
        return common
    cpus = math.ceil(runner.concurrency * runner.trial.cpus)
    own = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    return common | own | {"_temp_dir": str(folder)} | _quoted_python()


def _quoted_python() -> dict[str, Any]:
    """Quote the interpreter's path where it needs it: Ray hands it to a shell as it is, and no worker would start."""
    quoted = shlex.quote(sys.executable)
    return {"runtime_env": {"py_executable": quoted}} if quoted != sys.executable else {}


def remove_left_over(temp: Path) -> None:
    """Remove the folders that killed drivers of this user left; their Ray has ended by itself since."""
    for folder in temp.glob("ikd-ray-*-*"):
        pid = folder.name.split("-")[2]
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            old = time.time() - folder.stat().st_mtime > LEFT_OVER_SECONDS
            if old and folder.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)


def _short_temp() -> str:
    """Return a folder for Ray's sockets, whose paths must stay under 107 bytes."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 24 else "/tmp"


def _capacity(runner: Runner) -> int:
    """Return how many trials fit at once.

    Raises:
        BadInput: not even one.
    """
    have = ray.cluster_resources()
    need = {"CPU": runner.trial.cpus, "GPU": runner.trial.gpus}
    for kind, amount in need.items():
        if amount > have.get(kind, 0.0):
            field = f"runner: trial.{kind.lower()}s"
            raise BadInput(
                f"{field}: must be at most the {have.get(kind, 0.0):g} {kind}s of this Ray, but got {amount:g}"
            )
    return min(int(have.get(kind, 0.0) / amount + 1e-9) for kind, amount in need.items() if amount > 0)


def _reason(error_file: str | None) -> str:
    """Return the one line of Ray's report of a dead attempt that says why."""
    text = Path(error_file).read_text() if error_file and Path(error_file).is_file() else ""
    lines = [line.strip() for line in text.split("Failure # ")[-1].splitlines() if line.strip()]
    if any("died unexpectedly" in line or "process has died" in line for line in lines):
        return "its worker process died"
    return lines[-1][:200] if lines else "no reason given"
