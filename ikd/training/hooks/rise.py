"""How a host comes to its weight in the first steps of a stage, and where all distillation ends."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ikd.config import HOSTS, Recipe, StagePlan


def risen(recipe: Recipe, step: int) -> float:
    """Return the share of its weights that the host of a stage has in a step, counted from 0 where the stage begins."""
    host = recipe.distill.host
    rises = HOSTS[host].rises if host != "none" else ""
    steps = getattr(recipe.distill, host).warmup if rises else 0
    if step >= steps:
        return 1.0
    return (step + 1) / (steps + 1) if rises == "linearly" else 0.0


def labels_risen(recipe: Recipe, step: int) -> float:
    """Return the share of its weight that the teacher's labels have in a step, counted from 0 in each stage."""
    steps = recipe.distill.labels.warmup
    return 1.0 if step >= steps else (step + 1) / (steps + 1)


class RiseHook(Hook):
    """Tells the model what share of the weights of host and teacher's labels acts, and whether anything does.

    Args:
        plan: of the stage.
    """

    def __init__(self, plan: StagePlan) -> None:
        self._plan, self._recipe, self._first = plan, plan.recipe, plan.first - 1

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set it, by the place in the stage alone."""
        step = (runner.epoch - self._first) * len(runner.train_dataloader) + batch_idx
        runner.model.distils = runner.epoch < self._plan.taught_until
        for lesson, plan in zip(runner.model.lessons, self._plan.each, strict=True):
            lesson.host_share = risen(plan.recipe, step)
        runner.model.labels_share = labels_risen(self._recipe, step)
