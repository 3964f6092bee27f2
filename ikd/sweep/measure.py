"""What an epoch costs: from earlier sweeps, or from one that is trained for it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.config import Recipe, SweepFiles
from ikd.errors import BadInput
from ikd.home import at_home
from ikd.sweep.status import sweep_status
from ikd.sweep.study.folder import SweepFolder, sweep_names
from ikd.sweep.training import OWN, Training, training_of
from ikd.trial import EpochReport, StopTrial, TrialOptions

SEARCHED_SWEEPS = 20
"""How many of the latest sweeps are looked through."""


@dataclass(frozen=True)
class Measured:
    """What a training costs.

    Attributes:
        seconds: of one epoch, validation included, mean.
        checkpoint_bytes: of the largest checkpoint of a trial.
        source: where it was measured, for people.
    """

    seconds: float
    checkpoint_bytes: int
    source: str


def measured_before(files: SweepFiles, folder: SweepFolder) -> Measured | None:
    """Look in the latest sweeps for trials with the same student, data, image size and batch."""
    home = folder.home
    wanted = _cost_key(files.recipe)
    for name in sweep_names(home=home)[:SEARCHED_SWEEPS]:
        try:
            status = sweep_status(name, home=home)
        except BadInput:
            continue  # another sweep's folder is broken; no concern of this one
        trials = [trial for trial in status.trials if trial.epochs]
        if _cost_key(status.files.recipe) == wanted and trials:
            seconds = sum(trial.seconds for trial in trials) / sum(trial.epochs for trial in trials)
            return Measured(seconds, max(largest_checkpoint(trial.directory) for trial in trials), f"sweep {name}")
    return None


def measured_now(files: SweepFiles, home: Path, training: str = OWN) -> Measured:
    """Train one epoch of the base recipe in a folder that goes again.

    Raises:
        BadInput: the recipe does not fit its data or detectors.
    """
    module = training_of(training)
    with at_home(home), tempfile.TemporaryDirectory(prefix="ikd-measure-") as scratch:
        return _one_epoch(module, files, module.prepare(files.recipe), Path(scratch) / "trial")


def _one_epoch(training: Training, files: SweepFiles, prepared: Any, directory: Path) -> Measured:
    def after_one(report: EpochReport) -> None:
        raise StopTrial

    objective = (files.space.objective.metric, files.space.objective.mode)
    began = time.monotonic()
    training.run_trial(
        files.recipe,
        after_one,
        directory=directory,
        objective=objective,
        threads=max(1, int(files.runner.trial.cpus)),
        prepared=prepared,
        options=TrialOptions(),
    )
    took = (time.monotonic() - began) / files.recipe.schedule.val_interval
    return Measured(took, largest_checkpoint(directory), "a trial of one epoch, just now")


def _cost_key(recipe: Recipe) -> tuple[Any, ...]:
    content = recipe.effective()
    return content["data"], content["student"], content["input"], content["schedule"]["batch_size"]


def largest_checkpoint(directory: Path) -> int:
    """Return the bytes of the largest checkpoint in a trial's folder."""
    return max((file.stat().st_size for file in directory.glob("*.pth")), default=0)
