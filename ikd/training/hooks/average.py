"""The student's moving average in a training: made, moved on, validated, and kept."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from ikd.config import Ema
from ikd.training.optim import StudentAverage


class AverageHook(Hook):
    """Averages the student after every step; the model predicts with the average.

    Stands before what saves and reports.

    Args:
        settings: a recipe's `schedule.ema`.
    """

    priority = "LOW"

    def __init__(self, settings: Ema) -> None:
        self._settings = settings

    def before_train(self, runner: Any) -> None:
        """Begin at the student, or go on from the checkpoint that the runner starts from."""
        model, start = runner.model, runner.start
        average = StudentAverage(self._settings, model.student)
        earlier = start.content.get("average") if start is not None else None
        between = self._settings.between_stages
        if earlier is not None and (runner.within or between == "carry"):
            average.load_state_dict(earlier)
        elif earlier is not None and between == "adopt":
            model.student.load_state_dict(earlier["model"])
            average.module.load_state_dict(earlier["model"])
        model.average = average

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Take the step in."""
        runner.model.average.update(runner.model.student)

    def after_train_epoch(self, runner: Any) -> None:
        """Bring the processes together."""
        runner.model.average.share()
