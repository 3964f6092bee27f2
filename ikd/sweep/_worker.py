"""What runs inside a Ray worker: one trial after the other in one warm process."""

from __future__ import annotations

import importlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.config import Recipe
from ikd.errors import BadInput, NonFiniteLoss

NOTE_PERIOD_SECONDS = 2.0


@dataclass(frozen=True)
class Job:
    """What all trials of a sweep share, as a worker needs it.

    Attributes:
        recipe: the base, as plain values.
        objective: metric and `max` or `min`.
        folder: of the sweep.
        home: the ikd home, for caches.
        threads: torch threads of a trial.
        training: module with `run_trial`, `StopTrial` and, where it has them, `prepare` and `reset`.
    """

    recipe: Mapping[str, Any]
    objective: tuple[str, str]
    folder: Path
    home: Path
    threads: int
    training: str = "ikd.training"


class Line:
    """The way from a trial to the driver. After a stop nothing more is sent: nobody would take it."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self.stopped = False
        self._last_note = 0.0

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
        """Say what is being made, at most every two seconds."""
        if time.monotonic() - self._last_note >= NOTE_PERIOD_SECONDS:
            self._last_note = time.monotonic()
            self("note", text=f"{what} {done}/{total}")


def train(config: Mapping[str, Any], *, job: Job) -> None:
    """Train one trial; the function that Ray Tune runs.

    Args:
        config: of the trial: `number`, `values`, `anchor` (name of the anchor it is, else None), `recorded` (epochs
            that the study had when it was handed out).
        job: what all trials share.
    """
    from ray import tune  # only a worker has it loaded anyway

    os.environ["IKD_HOME"] = str(job.home)
    training = importlib.import_module(job.training)
    line = Line(tune.report)
    try:
        _train(training, line, config, job)
    finally:
        getattr(training, "reset", lambda: None)()
    if line.stopped:
        raise SystemExit  # a plain return would report once more, and wait for ever for an answer


def _train(training: Any, line: Line, config: Mapping[str, Any], job: Job) -> None:
    base = Recipe.model_validate_json(json.dumps(job.recipe))
    recipe = base.anchor(config["anchor"]) if config["anchor"] else base.with_values(config["values"])
    directory = job.folder / "trials" / str(config["number"])
    line("start", fingerprint=recipe.fingerprint(), pid=os.getpid())
    end = _outcome(training, line, recipe, directory=directory, job=job, recorded=config["recorded"])
    if end is not None:
        line("end", **end)


def _outcome(
    training: Any, line: Line, recipe: Recipe, *, directory: Path, job: Job, recorded: int
) -> dict[str, Any] | None:
    """Run the trial; return its end for the driver, or None when the driver has stopped it.

    A crash is raised: Ray starts the trial again.
    """
    try:
        _run(training, line, recipe, directory=directory, job=job, recorded=recorded)
    except NonFiniteLoss as error:
        return {"state": "diverged", "reason": str(error), "epoch": error.epoch}
    except BadInput as error:
        return {"state": "failed", "reason": str(error)}
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            reason = f"out of memory: {_first_line(error)}; use a smaller schedule.batch_size or fewer trials a GPU"
            return {"state": "failed", "reason": reason}
        _keep_traceback(directory)
        raise
    except Exception:
        _keep_traceback(directory)
        raise
    return None if line.stopped else {"state": "finished", "reason": ""}


def _run(training: Any, line: Line, recipe: Recipe, *, directory: Path, job: Job, recorded: int) -> None:
    last = directory / "last.pth"
    checkpoint = last if last.is_file() else None
    earlier, known = 0.0, {}
    if checkpoint is not None:
        for epoch, metrics in logged_epochs(directory):
            earlier += metrics.get("seconds/train", 0.0) + metrics.get("seconds/val", 0.0)
            if epoch > recorded:  # saved, but perhaps never reported: the driver skips what it knows
                line("epoch", epoch=epoch, metrics=metrics, seconds=earlier)
    elif hasattr(training, "prepare"):
        known["prepared"] = training.prepare(recipe, line.note)
        line("data", fingerprint=known["prepared"].files.fingerprint())
    began = time.monotonic()

    def report(done: Any) -> None:
        metrics = {name: float(value) for name, value in done.metrics.items()}
        try:
            line("epoch", epoch=done.epoch, metrics=metrics, seconds=earlier + time.monotonic() - began)
        except SystemExit:
            raise training.StopTrial from None

    try:
        training.run_trial(
            recipe, report, checkpoint, directory=directory, objective=job.objective, threads=job.threads, **known
        )
    except training.StopTrial:
        pass


def logged_epochs(directory: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield epoch and metrics from a trial's log, the latest of an epoch; a line cut short by a crash is left out."""
    file = directory / "log.jsonl"
    if not file.is_file():
        return
    found: dict[int, dict[str, float]] = {}
    for text in file.read_text().splitlines():
        try:
            content = json.loads(text)
            found[int(content["epoch"])] = {name: float(value) for name, value in content["metrics"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    yield from sorted(found.items())


def _keep_traceback(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "error.txt").write_text(traceback.format_exc())


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def tune_trainable(recipe: Recipe) -> Callable[[dict[str, Any]], None]:
    """Return a Ray Tune function trainable that trains `recipe` with the values of its config.

    For a script of your own: `ray.tune.Tuner(tune_trainable(recipe), param_space={"distill.mgd.alpha":
    ray.tune.loguniform(1e-6, 1e-4)})`. The config's keys are dotted recipe fields, as in the search-space files. Every
    epoch is reported with its metrics (`bbox_mAP`, `loss/total`, ...) and a Tune checkpoint, so that retries, pausing
    schedulers and `Tuner.restore` go on from the last epoch.

    Raises (inside the trial):
        BadInput: a name is no recipe field, or a value does not fit it.
        NonFiniteLoss: the trial diverged.
    """
    plain = recipe.as_dict()

    def trainable(config: dict[str, Any]) -> None:
        train_plain(plain, config)

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
        last = directory / "last.pth"
        training.run_trial(recipe, report, last if last.is_file() else None, directory=directory)
