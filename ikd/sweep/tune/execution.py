"""The Ray Tune side: searcher, scheduler and stopper ask the conductor; nothing of theirs is ever restored."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from ikd.config import Runner
from ikd.errors import BadInput
from ikd.masking import masked
from ikd.sweep.conductor import Conductor
from ikd.sweep.storage.objects import is_address
from ikd.sweep.storage.store import open_store
from ikd.sweep.tune.cluster import Standstill, needs, places, ray_session
from ikd.sweep.tune.storage_check import check_storage
from ikd.sweep.tune.worker import Job, train


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
            return {
                "number": assignment.number,
                "values": dict(assignment.values),
                "anchor": assignment.anchor,
                "seed": assignment.seed,
                "recorded": assignment.recorded,
                "start": assignment.start,
                "test": assignment.test,
            }
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

    def __init__(self, conductor: Conductor, standstill: Standstill) -> None:
        super().__init__()
        self._conductor, self._standstill = conductor, standstill

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Deal with one message; decide whether the trial goes on."""
        if "message" not in result:  # Tune's own note that the function has returned
            return TrialScheduler.CONTINUE
        message = json.loads(result["message"])
        kind, number = message.pop("kind"), trial.config["number"]
        if kind == "end":
            self._conductor.end(number, message.pop("state"), message.pop("reason"), **message)
            return self._stop(number)
        if kind == "start":
            message.pop("pid")
            self._standstill.begun(number)
        handlers: dict[str, Callable[..., bool]] = {
            "start": self._conductor.started,
            "data": self._conductor.data,
            "gone": self._conductor.gone,
            "note": self._conductor.note,
            "epoch": self._conductor.report,
            "disk_full": self._conductor.disk_full,
            "misfit": self._conductor.misfit,
        }
        return self._stop(number) if handlers[kind](number, **message) else TrialScheduler.CONTINUE

    def _stop(self, number: int) -> str:
        self._standstill.left(number)
        return TrialScheduler.STOP

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Grant a trial the retries it has left, over restarts too; called again after every crash."""
        left = self._conductor.retries_left(trial.config["number"])
        trial.max_failures = trial.run_metadata.num_failures + left

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Take in that a worker died or the trial raised: for every attempt, also when Tune will try again."""
        self._standstill.left(trial.config["number"])
        self._conductor.crashed(trial.config["number"], _reason(trial.error_file))


class StudyStopper(tune.Stopper):
    """Gives the conductor its heartbeat, and ends the sweep when it says so."""

    def __init__(self, conductor: Conductor, standstill: Standstill, beat: Callable[[], None]) -> None:
        self._conductor, self._standstill, self._beat = conductor, standstill, beat

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials are stopped by the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Beat; raises what the beat raises. An interrupted sweep does not wait for trials that have not begun."""
        self._beat()
        conductor, standstill = self._conductor, self._standstill
        if conductor.ending is not None and conductor.ending.pauses:
            return not standstill.running
        standstill.check()
        conductor.slots = standstill.room(conductor.slots)
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
        guard: held from before Ray starts until it has ended, so that no signal leaves a part of it behind.

    Raises:
        BadInput: the machine or cluster cannot hold one trial, is not there, or a node of it cannot use the storage.
        JobError: no trial has begun within `ray.start_seconds`.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # crashes stand in the table and in train.log
    with guard, ray_session(runner), tempfile.TemporaryDirectory(prefix="ikd-tune-") as scratch:
        beat()
        if conductor.ending is not None and conductor.ending.pauses:
            return
        conductor.slots = min(runner.concurrency, places(runner))
        if runner.ray.address != "local" or is_address(runner.storage):  # else the driver has just written there itself
            check_storage(runner, job.folder, beat)
        if not conductor.records and open_store(job.storage, job.folder).used:
            rule = "must hold no trials of another sweep of this name"
            raise BadInput(f"runner: storage: {rule}, but has some of {job.folder.name!r}; use another name (--name)")
        standstill = Standstill(runner)
        resources = {kind.lower(): amount for kind, amount in needs(runner).items()}
        tuner = tune.Tuner(
            tune.with_resources(functools.partial(train, job=replace(job, cwd=Path.cwd())), resources),
            tune_config=tune.TuneConfig(
                search_alg=StudySearcher(conductor),
                scheduler=StudyScheduler(conductor, standstill),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                stop=StudyStopper(conductor, standstill, beat),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=runner.trial.max_retries),
            ),
        )
        tuner.fit()


def _reason(error_file: str | None) -> str:
    """Return the one line of Ray's report of a dead attempt that says why."""
    text = Path(error_file).read_text() if error_file and Path(error_file).is_file() else ""
    lines = [line.strip() for line in text.split("Failure # ")[-1].splitlines() if line.strip()]
    if any("died unexpectedly" in line or "process has died" in line for line in lines):
        return "its worker process died"
    return masked(lines[-1])[:200] if lines else "no reason given"
