"""What runs inside a Ray worker: one trial after the other in one warm process."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ikd.config import Recipe, from_here
from ikd.data import lost
from ikd.errors import BadInput, DataGone, DiskFull, JobError, NonFiniteLoss, first_line
from ikd.home import while_waiting
from ikd.logs import Log, kept
from ikd.sweep.same_data import part_name
from ikd.sweep.storage.store import TrialStore, open_store
from ikd.sweep.training import OWN, Training, training_of
from ikd.sweep.tune.memory import is_memory_fault, keep_to, own_fault
from ikd.trial import NO_OPTIONS, TRAIN_SECONDS, VAL_SECONDS, EpochReport, StopTrial, TrialFolder, TrialOptions

NOTE_PERIOD_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """What all trials of a sweep share, as a worker needs it.

    Attributes:
        recipe: the base, as plain values.
        objective: metric and `max` or `min`.
        folder: of the sweep.
        home: the ikd home, for caches; None is the node's own.
        threads: torch threads of a process.
        training: module that is a `Training`.
        storage: of the runner: where trials keep their files.
        options: of every trial.
        cwd: where the command was run, for what a config or plug-in reads by a relative path; None leaves the worker's.
        gpus: share of a GPU that a process of a trial has.
    """

    recipe: Mapping[str, Any]
    objective: tuple[str, str]
    folder: Path
    home: Path | None
    threads: int
    training: str = OWN
    storage: str | None = None
    options: TrialOptions = NO_OPTIONS
    cwd: Path | None = None
    gpus: float = 0.0


class Line:
    """The way from a trial to the driver. After a stop nothing more is sent: nobody would take it."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self.stopped = False
        self._last_note = 0.0
        self._making = ""

    def __call__(self, kind: str, **content: Any) -> None:
        """Send a message; returns when the driver has dealt with it.

        Raises:
            SystemExit: the driver has stopped this trial.
        """
        if self.stopped:
            return
        try:
            self._send({"message": json.dumps({"kind": kind, **content})})
        except SystemExit:
            self.stopped = True
            raise

    def note(self, what: str, done: int, total: int) -> None:
        """Say what is being made: when it begins, when it is done, and at most every two seconds between."""
        turns = what != self._making or done >= total
        if turns or time.monotonic() - self._last_note >= NOTE_PERIOD_SECONDS:
            self._last_note, self._making = time.monotonic(), what
            self("note", text=f"{what} {done}/{total}", making=(what, done, total))

    def wait(self) -> None:
        """Say that the trial waits for what another one makes."""
        self("note", text="waits for what another trial makes")


def train(config: Mapping[str, Any], *, job: Job) -> None:
    """Train one trial; the function that Ray Tune runs.

    Args:
        config: of the trial: `number`, `values`, `anchor` (name of the anchor whose recipe it trains, else None),
            `seed` (in place of the recipe's, or None), `recorded` (epochs that the study had when it was handed out),
            `start` (None, or trial and epoch it takes the weights of), `test` (measure it on the test part).
        job: what all trials share.
    """
    from ray import tune  # only a worker has it loaded anyway

    if job.home is not None:
        os.environ["IKD_HOME"] = str(job.home)
    if job.cwd is not None and job.cwd.is_dir():
        os.chdir(job.cwd)
    training = training_of(job.training)
    keep_to(job.gpus)
    line = Line(tune.report)
    try:
        _train(training, line, config, job)
    finally:
        training.reset()
    if line.stopped:
        raise SystemExit  # a plain return would report once more, and wait for ever for an answer


def _train(training: Training, line: Line, config: Mapping[str, Any], job: Job) -> None:
    base = Recipe.model_validate_json(json.dumps(job.recipe))
    recipe = base.anchor(config["anchor"]) if config["anchor"] else base.with_values(config["values"])
    recipe = recipe if config["seed"] is None else recipe.with_values({"seed": config["seed"]})
    line("start", fingerprint=recipe.fingerprint(), pid=os.getpid())
    store = open_store(job.storage, job.folder)
    with store.training(config["number"]) as directory:
        end = _Attempt(training, line, recipe, config, job, store, directory).outcome()
        if end is not None:
            line("end", **end)


@dataclass(frozen=True)
class _Attempt:
    """One start of a trial."""

    training: Training
    line: Line
    recipe: Recipe
    config: Mapping[str, Any]
    job: Job
    store: TrialStore
    directory: Path

    def outcome(self) -> dict[str, Any] | None:
        """Run the trial; return its end for the driver, or None when the driver has stopped it.

        A crash is raised: Ray starts the trial again.
        """
        where = f"process {os.getpid()} on {socket.gethostname()}"
        self.log.write(f"--- attempt in {where}, recipe {self.recipe.name} {self.recipe.fingerprint()[:12]}")
        try:
            with kept(self.log), while_waiting(self.line.wait):
                self._run()
        except NonFiniteLoss as error:
            self._keep_traceback()
            if error.cause:  # no value of the search has done that, and none can mend it
                self.line("misfit", reason=str(error))
                return None
            return {"state": "diverged", "reason": str(error), "epoch": error.epoch}
        except (BadInput, DataGone) as error:
            self._keep_traceback()
            if gone := self._lost(error):
                self.line("gone", part=part_name(self.recipe), reason=gone)
            else:
                self.line("misfit", reason=str(error))
            return None
        except DiskFull as error:
            self.line("disk_full", reason=str(error))
            return None
        except (RuntimeError, MemoryError) as error:
            self._keep_traceback()
            if is_memory_fault(error) and (reason := own_fault(error, self.job.gpus)) is not None:
                return {"state": "failed", "reason": reason}
            if is_memory_fault(error):
                rule = "the GPU is full though this trial keeps within its share: others have taken the rest"
                raise JobError(f"{rule} ({first_line(error)})") from error
            raise
        except Exception:
            self._keep_traceback()
            raise
        return None if self.line.stopped else {"state": "finished", "reason": ""}

    def _run(self) -> None:
        options = replace(self.job.options, test=self.config["test"])
        checkpoint = self.training.resumable(self.directory)
        if self.config["start"] is not None:
            source, epoch = self.config["start"]  # the trial's own checkpoint wins where it is further on
            other = self.store.single(source, TrialFolder.kept_name(epoch), self.directory.parent)
            options = replace(options, adopt=other)
        begins = checkpoint is None and options.adopt is None
        self._note_torn(checkpoint, begins)
        prepared = self.training.prepare(self.recipe, self.line.note) if begins else None
        record = self.training.data_of(self.recipe)
        self.line("data", part=part_name(self.recipe), record=record.as_dict())
        earlier = 0.0 if begins else self._tell_logged()
        began = time.monotonic()

        def report(done: EpochReport) -> None:
            metrics = {name: float(value) for name, value in done.metrics.items()}
            metric = self.job.objective[0]
            self.log.write(
                f"epoch {done.epoch}/{self.recipe.total_epochs}: {metric} {metrics.get(metric, math.nan):.4f}"
            )
            self.store.push(self.config["number"], self.directory)
            try:
                self.line("epoch", epoch=done.epoch, metrics=metrics, seconds=earlier + time.monotonic() - began)
            except SystemExit:
                raise StopTrial from None

        with contextlib.suppress(StopTrial):
            self.training.run_trial(
                self.recipe,
                report,
                checkpoint,
                directory=self.directory,
                objective=self.job.objective,
                threads=self.job.threads,
                prepared=prepared,
                options=options,
            )
        self.store.push(self.config["number"], self.directory)

    def _note_torn(self, checkpoint: Path | None, begins: bool) -> None:
        last = TrialFolder(self.directory).last
        if last.is_file() and checkpoint != last:
            how = "begins anew" if begins else "goes on from the epoch before"
            self.line("note", text=f"{last.name} was cut short: the trial {how}")

    def _tell_logged(self) -> float:
        """Send what was saved but perhaps never reported; return the seconds trained so far."""
        seconds = 0.0
        for epoch, metrics in TrialFolder(self.directory).logged().items():
            seconds += metrics.get(TRAIN_SECONDS, 0.0) + metrics.get(VAL_SECONDS, 0.0)
            if epoch > self.config["recorded"]:  # the driver skips what it knows
                self.line("epoch", epoch=epoch, metrics=metrics, seconds=seconds)
        return seconds

    def _lost(self, error: BadInput | DataGone) -> str:
        """Return what of the data is not there, where that is behind an error; empty where it is not."""
        if isinstance(error, DataGone):
            return error.what
        return lost(self.recipe) if self.job.training == OWN else ""

    def _keep_traceback(self) -> None:
        self.log.write(traceback.format_exc())
        with contextlib.suppress(OSError):  # the store may be what is broken
            self.store.push(self.config["number"], self.directory)

    @property
    def log(self) -> Log:
        """What this attempt says, after those before it."""
        return Log(TrialFolder(self.directory).said)


def tune_trainable(recipe: Recipe) -> Callable[[dict[str, Any]], None]:
    """Return a Ray Tune function trainable that trains `recipe` with the values of its config.

    For a script of your own: `ray.tune.Tuner(tune_trainable(recipe), param_space={"distill.mgd.alpha":
    ray.tune.loguniform(1e-6, 1e-4)})`. The config's keys are dotted recipe fields, as in the search-space files. Every
    epoch is reported with its metrics (`bbox_mAP`, `loss/total`, ...) and a Tune checkpoint, so that retries, pausing
    schedulers and `Tuner.restore` go on from the last epoch. Relative paths in the config start from the folder in
    which this is called: Ray Tune changes it for its trials.

    Raises (inside the trial):
        BadInput: a name is no recipe field, or a value does not fit it.
        NonFiniteLoss: the trial diverged.
    """
    plain, here = recipe.as_dict(), Path.cwd()

    def trainable(config: dict[str, Any]) -> None:
        train_plain(plain, {name: from_here(name, value, here) for name, value in config.items()})

    return trainable


def train_plain(plain: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Train one trial of somebody else's Tuner."""
    import tempfile

    from ray import tune

    from ikd import training

    recipe = Recipe.model_validate_json(json.dumps(plain)).with_values(config)
    with tempfile.TemporaryDirectory(prefix="ikd-trial-") as folder:
        directory = Path(folder) / "trial"

        def report(done: training.EpochReport) -> None:
            tune.report(dict(done.metrics), checkpoint=tune.Checkpoint.from_directory(directory))

        start = tune.get_checkpoint()
        if start is not None:
            start.to_directory(directory)
        training.run_trial(recipe, report, training.resumable(directory), directory=directory)
