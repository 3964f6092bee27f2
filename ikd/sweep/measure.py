"""What an epoch costs, measured for a forecast where no sweep has shown it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ikd.config import SweepFiles
from ikd.home import at_home
from ikd.sweep.forecast.epochs import features_of, features_of_teacher
from ikd.sweep.forecast.kept import epoch_row, keep
from ikd.sweep.forecast.wants import wants
from ikd.sweep.training import Training
from ikd.trial import Timed

SOURCE = "a measurement of one epoch"


def measure_now(files: SweepFiles, training: Training, say: Callable[[str], None], home: Path) -> None:
    """Measure what the base recipe's epochs and shared things take here, and keep each for forecasts as it is known.

    Args:
        files: of the sweep.
        training: what trains.
        say: told what is measured next.
        home: that keeps it.

    Raises:
        BadInput: the recipe does not fit its data or detectors.
    """
    for one in training.timed(files.recipe, max(1, int(files.runner.trial.cpus)), say):
        with at_home(home):
            keep(_rows(files, one))


def _rows(files: SweepFiles, one: Timed) -> list[dict[str, Any]]:
    recipe = files.recipe
    if one.kind in ("alone", "taught"):
        plan = (recipe if one.kind == "taught" else recipe.student_alone()).stages[0]
        size = one.checkpoint_bytes
        return [epoch_row(features_of(plan, 1), one.seconds, source=SOURCE, checkpoint_bytes=size)]
    teacher = recipe.teachers.available[one.teacher]
    rows = [
        {"unit": want.item, "seconds": one.seconds}
        for want in wants(recipe)
        if (want.kind, want.teacher) == (one.kind, one.teacher)
    ]
    if one.kind == "teacher":
        rows.append(epoch_row(features_of_teacher(recipe, teacher), one.seconds, source=SOURCE))
    return rows
