"""One trial: a recipe in, the best student out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch
import yaml
from mmengine.dist import barrier
from typing_extensions import Unpack

from ikd.config import Recipe
from ikd.files import write_whole
from ikd.training._checkpoint import load
from ikd.training._costs import check_costs, measure_costs
from ikd.training._prepare import Prepared, prepare
from ikd.training._processes import Task, check_processes, crew
from ikd.training._progress import Metrics, Progress, Report, StopTrial
from ikd.training._reset import borrowed_process, reset, settle
from ikd.training._stage import Stage, build_runner
from ikd.training._start import Start, find_start


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves.

    Attributes:
        metrics: of the best epoch.
        best_epoch: from 1.
        epochs: epochs finished.
        best: the student of the best epoch, in mmdet's checkpoint layout.
        last: file to resume from.
    """

    metrics: Metrics
    best_epoch: int
    epochs: int
    best: Path
    last: Path


class SweepOptions(TypedDict, total=False):
    """What a sweep asks of a trial besides; each may be left out."""

    costs: tuple[str, ...]
    """Put into every report as `cost/<name>`: `gflops`, `mparameters`, `latency_ms`; measured once, before training."""
    adopt: Path | None
    """A checkpoint of another trial to go on from: weights, optimiser, schedule position and epoch are taken over. That
    trial has the same architecture, schedule and stages, and may differ in everything else. Log and best epoch stay
    this trial's own up to there. Beside `checkpoint`, it is what counts unless that one is of this recipe and further.
    """
    keep_epochs: int | None
    """Keep last.pth as epoch-K.pth too, wherever a validated epoch is a multiple of this."""
    processes: int
    """Train in so many processes, one a GPU where there are any; `schedule.batch_size` and `threads` are shared among
    them. Batches hold the same images however many there are. Batch norm sees a process's own part, as in mmdet's
    distributed training; its running statistics are averaged after each epoch."""


def run_trial(
    recipe: Recipe,
    report: Report | None = None,
    checkpoint: Path | None = None,
    *,
    directory: Path,
    objective: tuple[str, str] = ("bbox_mAP", "max"),
    threads: int | None = None,
    prepared: Prepared | None = None,
    **options: Unpack[SweepOptions],
) -> TrialResult:
    """Train one recipe.

    Args:
        recipe: what to train.
        report: called once after each validation; may raise `StopTrial`.
        checkpoint: of the same recipe, to go on from its epoch; `resumable` finds it.
        directory: receives best.pth, last.pth, previous.pth, recipe.yaml and log.jsonl.
        objective: metric that decides the best epoch, and `max` or `min`.
        threads: CPU threads of torch, while the trial runs; None leaves them.
        prepared: what `prepare` gave for this recipe; None prepares now.
        **options: see `SweepOptions`.

    Returns:
        The best epoch's metrics and files.

    Raises:
        BadInput: the recipe does not fit its data, detectors, checkpoints or options; nothing is trained.
        NonFiniteLoss: a loss became NaN or infinite; the last checkpoint is intact.
        DiskFull: a file could not be written; the one before is intact.
        RuntimeError: one of the trial's further processes died.
    """
    wanted = _Options(**options)
    check_costs(wanted.costs)
    check_processes(recipe, wanted.processes)
    prepared = prepared or prepare(recipe)
    directory.mkdir(parents=True, exist_ok=True)
    progress = Progress(directory, *objective, prepared.files.classes, recipe.fingerprint(), wanted.keep_epochs)
    start = find_start(recipe, progress, checkpoint, wanted.adopt)
    content = yaml.safe_dump(recipe.as_dict(), sort_keys=False).encode()
    write_whole(directory / "recipe.yaml", lambda file: file.write(content))
    share = max(1, (threads or torch.get_num_threads()) // wanted.processes)
    settle()
    with tempfile.TemporaryDirectory(prefix="ikd-") as scratch:
        task = Task(
            recipe,
            prepared,
            directory,
            objective,
            start.path if start else None,
            Path(scratch),
            wanted.processes,
            share,
        )
        with borrowed_process(share), crew(task):
            epochs = _train_stages(task, progress, start, report=report, costs=wanted.costs)
    if epochs == recipe.total_epochs:
        progress.previous.unlink(missing_ok=True)  # nothing comes that could need it
    return TrialResult(progress.best_metrics, progress.best_epoch, epochs, progress.best, progress.last)


@dataclass(frozen=True)
class _Options:
    """`SweepOptions` with what holds where one is left out."""

    costs: tuple[str, ...] = ()
    adopt: Path | None = None
    keep_epochs: int | None = None
    processes: int = 1


def follow(task: Task) -> None:
    """Train as a further process of a trial."""
    progress = Progress(task.directory, *task.objective, task.prepared.files.classes, task.recipe.fingerprint())
    start = Start(load(task.start), task.start) if task.start is not None else None
    settle()
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
        stage = Stage(task.recipe, index, plan, task.prepared)
        runner = build_runner(stage, progress, scratch=task.scratch, report=report)
        runner.start = start
        runner.check_start()
        if costs and not progress.costs:
            dataset = runner.val_dataloader.dataset
            progress.costs = measure_costs(costs, runner.model.student, dataset, progress.best_metrics)
        try:
            runner.train()
        except StopTrial:
            return runner.epoch
        if plan is not plans[-1]:
            barrier()  # the first process has written it
            start = Start(load(progress.last), progress.last)
            del runner
            reset()  # the next teacher comes when this one has gone
    return runner.epoch
