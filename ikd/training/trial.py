"""The training of a prepared recipe, stage after stage."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine.dist import barrier, get_rank

from ikd.config import Recipe
from ikd.detectors import unread_settings
from ikd.files import write_text
from ikd.progress import say
from ikd.training.checkpoint import load
from ikd.training.costs import measure_costs
from ikd.training.prepared import Prepared
from ikd.training.processes import Task, crew
from ikd.training.progress import Progress
from ikd.training.stage import StageRun, build_runner
from ikd.training.start import Start, find_start
from ikd.training.unlabelled.reading import said_of_labels
from ikd.training.worker_state import borrowed_process, determinism, reset, settle
from ikd.trial import NO_OPTIONS, Metrics, Report, StopTrial, TrialFolder, TrialOptions, said_of_teacher


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves.

    Attributes:
        metrics: of the best epoch.
        last_metrics: of the last epoch, which papers print; the best one's advantage over it grows with noise.
        best_epoch: from 1.
        epochs: epochs finished.
        best: the student of the best epoch, in mmdet's checkpoint layout.
        last: file to resume from.
    """

    metrics: Metrics
    last_metrics: Metrics
    best_epoch: int
    epochs: int
    best: Path
    last: Path


def train(  # noqa: PLR0913 - as `run_trial`
    recipe: Recipe,
    report: Report | None = None,
    checkpoint: Path | None = None,
    *,
    directory: Path,
    prepared: Prepared,
    objective: tuple[str, str] = ("bbox_mAP", "max"),
    threads: int | None = None,
    options: TrialOptions = NO_OPTIONS,
) -> TrialResult:
    """Train a recipe from what was prepared for it; see `run_trial`."""
    directory.mkdir(parents=True, exist_ok=True)
    folder = TrialFolder(directory)
    progress = Progress(folder, *objective, prepared.files.record(), options=options)
    progress.attack_seconds = sum(one.attack_seconds for stage in prepared.stages for one in stage.each)
    progress.teachers = _scores(recipe, prepared)
    recipe, start = find_start(recipe, progress, prepared.files, checkpoint, options.adopt)
    write_text(folder.recipe, yaml.safe_dump(recipe.as_dict(), sort_keys=False))
    if text := _said_of_unread(recipe):
        _tell(progress, text)
    for plan, made in prepared.each_teacher(recipe):
        if recipe.teachers.available[str(plan.teacher)].classes != "own":
            _tell(progress, said_of_teacher(str(plan.teacher), made.score))
    share = max(1, (threads or torch.get_num_threads()) // options.processes)
    settle()
    with tempfile.TemporaryDirectory(prefix="ikd-") as scratch:
        task = Task(
            recipe,
            prepared,
            directory,
            objective,
            start.path if start else None,
            Path(scratch),
            options.processes,
            share,
        )
        with borrowed_process(share), determinism(recipe), crew(task):
            epochs = _train_stages(task, progress, start, report=report, costs=options.costs)
    if epochs == recipe.total_epochs:
        folder.previous.unlink(missing_ok=True)  # nothing comes that could need it
    ended = folder.logged().get(epochs, {})
    return TrialResult(progress.best_metrics, ended, progress.best_epoch, epochs, folder.best, folder.last)


def _scores(recipe: Recipe, prepared: Prepared) -> Metrics:
    """Return the mAP of each teacher whose was measured."""
    each = prepared.each_teacher(recipe)
    return {str(plan.teacher): made.score for plan, made in each if made.score is not None}


def _said_of(stage: StageRun, model: Any) -> list[str]:
    """Return what a person is told of a stage as it begins."""
    said = [lesson.terms.said for lesson in model.lessons if lesson.terms.said]
    if stage.made.labels is not None:
        said += said_of_labels(stage.plan.recipe, stage.prepared.files, stage.made.labels)
    return list(dict.fromkeys(said))


def _said_of_unread(recipe: Recipe) -> str:
    """Return what a person is told of settings in the student's config that the recipe does not say; or nothing."""
    said = {
        "student.checkpoint": recipe.student.checkpoint is not None,
        "schedule.ema": recipe.schedule.ema.enabled,
        "input.batch_scale": recipe.input.batch_scale.enabled or recipe.input.multi_scale.enabled,
    }
    found = [
        f"{name} ({field} is)" for field, name in unread_settings(recipe.student.config).items() if not said[field]
    ]
    return f"student: of its config the model is read, and not {', '.join(found)}" if found else ""


def _tell(progress: Progress, text: str) -> None:
    """Tell a person something of this trial, once."""
    if progress.folder.remark(text):
        say(text)


def follow(task: Task) -> None:
    """Train as a further process of a trial."""
    progress = Progress(TrialFolder(task.directory), *task.objective, None)
    start = Start(load(task.start), task.start) if task.start is not None else None
    settle()
    with determinism(task.recipe):
        _train_stages(task, progress, start)


def _train_stages(
    task: Task, progress: Progress, start: Start | None, *, report: Report | None = None, costs: tuple[str, ...] = ()
) -> int:
    """Train one stage after the other; return the epochs finished.

    A stage starts from the last checkpoint of the one before, as after an interruption, so that the two never differ.
    """
    plans = task.recipe.stages
    for index, plan in enumerate(plans):
        if start is not None and start.content["epoch"] >= plan.last and plan is not plans[-1]:
            continue
        stage = StageRun(task.recipe, index, plan, task.prepared)
        runner = build_runner(stage, progress, scratch=task.scratch, report=report)
        runner.start = start
        runner.check_start()
        if not get_rank():
            for said in _said_of(stage, runner.model):
                _tell(progress, said)
        if costs and not progress.costs:
            dataset = runner.val_dataloader.dataset
            progress.costs = measure_costs(costs, runner.model.student, dataset, progress.best_metrics)
        try:
            runner.train()
        except StopTrial:
            return runner.epoch
        if plan is not plans[-1]:
            barrier()  # the first process has written it
            start = Start(load(progress.folder.last), progress.folder.last)
            del runner
            reset()  # the next teacher comes when this one has gone
    return runner.epoch
