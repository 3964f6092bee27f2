"""Whole sweeps in a home without any training: a function of the values stands for it, with the noise of a seed.

Everything else is ikd's own: who proposes, what stops, repeats, trainings kept apart, the study and its files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ikd.config import Recipe, Runner, SearchSpace, SweepFiles, load_recipe
from ikd.sweep.conductor import Conductor
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import COMPLETE, sweep_folder, write_files
from ikd.tracking import NullTracker

EPOCHS = 12
SECONDS = 60.0
"""Of an epoch."""
NOISE = 0.004
"""Standard deviation between trainings of one configuration (AP in 0..1)."""
PARAMETERS: dict[str, Any] = {
    "distill.host": {"choice": ["fgd", "mgd"]},
    "distill.mgd.alpha": {"log_uniform": [1e-7, 1e-3], "when": {"distill.host": "mgd"}},
    "distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2], "when": {"distill.host": "fgd"}},
    "augment.noise.sigma": {"uniform": [0.0, 0.3]},
    "augment.area_threshold": {"log_int": [256, 4096], "factor": 2},
    "adversarial.enabled": {"choice": [True, False]},
    "adversarial.weight": {"log_uniform": [1e-6, 1e-3], "when": {"adversarial.enabled": True}},
}
SPACE: dict[str, Any] = {
    "recipe": "drawn_r18",
    "parameters": PARAMETERS,
    "anchors": ["paper", "student_alone", "inherit_alone"],
    "scheduler": {"asha": {"grace_epochs": 3, "reduction_factor": 2}},
    "sampler": {"random": {}},
    "budget": {"trials": 20},
}


def played_space(trials: int = 20, **changes: Any) -> SearchSpace:
    """Return the space that is searched, with other sections where they are given."""
    content = {**SPACE, "budget": {"trials": trials}, **changes}
    return SearchSpace.model_validate_json(json.dumps(content))


def plateau(recipe: Recipe) -> float:
    """Return the AP (0..1) that a recipe reaches, averaged over seeds."""
    if recipe.distill.host == "none" or not recipe.teachers.sequence:
        return 0.28 + 0.02 * recipe.student.inherit
    mgd = recipe.distill.host == "mgd"
    alpha, best = (recipe.distill.mgd.alpha, -5.0) if mgd else (recipe.distill.fgd.alpha, -3.0)
    value = 0.32 + 0.01 * mgd - 0.012 * (math.log10(max(alpha, 1e-12)) - best) ** 2
    value -= 0.4 * (recipe.augment.noise.sigma - 0.1) ** 2
    value += 0.004 * math.log2(recipe.augment.area_threshold / 256) * (1 if mgd else -0.5)
    if recipe.adversarial.enabled:
        value += 0.015 - 0.006 * (math.log10(recipe.adversarial.weight) + 4.5) ** 2
    return value


def metrics_of(recipe: Recipe, epoch: int, epochs: int) -> dict[str, float]:
    """Return what a validation reports."""
    draws = np.random.default_rng(int(recipe.fingerprint()[:8], 16))
    luck, own = draws.normal(0, NOISE), draws.normal(0, NOISE / 2, size=epochs)
    value = plateau(recipe) * (1 - 0.75 ** (12 * epoch / epochs)) + luck + own[epoch - 1]
    sizes = {"bbox_APs": 0.5 * value, "bbox_APm": 1.1 * value, "bbox_APl": 1.4 * value}
    return {
        "bbox_mAP": value,
        "bbox_AP50": 1.6 * value,
        **sizes,
        "loss/total": 2.0 / epoch,
        "grad/fgd": 0.7,
        "teacher/r18x16": 0.42,
        "cost/gflops": 10.0 + 4.0 * recipe.augment.noise.sigma,
        "cost/mparameters": 3.2,
    }


@dataclass
class _Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class _Silent:
    def started(self, record: TrialRecord) -> None: ...
    def note(self, number: int, text: str) -> None: ...
    def reported(self, record: TrialRecord) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...
    def say(self, text: str) -> None: ...


def play(
    home: Path,
    name: str,
    space: SearchSpace,
    *,
    values: Mapping[str, Any] | None = None,
    misbehave: Callable[[int], str | None] = lambda number: None,
    most: int | None = None,
    more: Mapping[str, float] | None = None,
) -> Path:
    """Play a sweep, one trial at a time, and leave its folder as a driver would.

    Args:
        home: that gets it.
        name: of the sweep.
        space: that is searched.
        values: of the recipe.
        misbehave: from the number of a trial to the state that it ends with after two epochs; None trains on.
        most: trials after which it is left as a killed driver leaves it, the last one in its second epoch.
        more: metrics of every validation besides.

    Returns:
        Its folder.
    """
    recipe = load_recipe(space.recipe, {"schedule.epochs": EPOCHS, **(values or {})})
    runner = Runner.model_validate_json(json.dumps({"tracking": {"uri": "none"}, "storage": str(home)}))
    files = SweepFiles(space.checked(recipe), recipe, runner)
    folder = sweep_folder(name, home)
    folder.path.mkdir(parents=True)
    study, clock = open_study(folder, files, create=True), _Clock()
    write_files(folder, files)
    conductor = Conductor(files, study=study, watcher=_Silent(), tracker=NullTracker(), clock=clock)
    while (given := conductor.next_trial()) is not None:
        trial = recipe.anchor(given.anchor) if given.anchor else recipe.with_values(given.values)
        trial = trial if given.seed is None else trial.with_values({"seed": given.seed})
        conductor.started(given.number, trial.fingerprint())
        clock.now += SECONDS / 4
        cut = most is not None and given.number + 1 >= most
        ending = "cut" if cut else misbehave(given.number)
        _train(conductor, given.number, trial, clock, (ending, more or {}))
        if cut:
            return folder.path
    study.note(COMPLETE, len(study.records))
    return folder.path


def _train(
    conductor: Conductor, number: int, recipe: Recipe, clock: _Clock, how: tuple[str | None, Mapping[str, float]]
) -> None:
    (ending, more), epochs = how, recipe.total_epochs
    for epoch in range(1, epochs + 1):
        clock.now += SECONDS
        if ending is not None and epoch == 3:
            if ending != "cut":
                conductor.end(number, ending, f"it {ending} at epoch 3", epoch=3)  # type: ignore[arg-type]
            return
        if conductor.report(number, epoch, {**metrics_of(recipe, epoch, epochs), **more}, epoch * SECONDS):
            return
    conductor.end(number, "finished", "")
