"""One trial: a recipe in, the best student out."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from ikd.config import Recipe, StagePlan
from ikd.distill.detector import DistillDetector
from ikd.training._checkpoint import Content, load
from ikd.training._data import CocoEvaluator, train_loader, val_loader
from ikd.training._hooks import EpochHook, ReportHook
from ikd.training._model import build_model, load_teacher
from ikd.training._optim import optim_wrapper, param_schedulers
from ikd.training._prepare import Prepared, PreparedStage, device_of, prepare
from ikd.training._progress import Metrics, Progress, Report, StopTrial, resume_from
from ikd.training._reset import reset, settle
from ikd.training._runner import Carries, TrialRunner


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


def run_trial(
    recipe: Recipe,
    report: Report | None = None,
    checkpoint: Path | None = None,
    *,
    directory: Path,
    objective: tuple[str, str] = ("bbox_mAP", "max"),
    threads: int | None = None,
    prepared: Prepared | None = None,
) -> TrialResult:
    """Train one recipe.

    Args:
        recipe: what to train.
        report: called once after each validation; may raise `StopTrial`.
        checkpoint: `last.pth` of the same recipe, to go on from its epoch.
        directory: receives best.pth, last.pth, recipe.yaml and log.jsonl.
        objective: metric that decides the best epoch, and `max` or `min`.
        threads: CPU threads of torch; None leaves them.
        prepared: what `prepare` gave for this recipe; None prepares now.

    Returns:
        The best epoch's metrics and files.

    Raises:
        BadInput: the recipe does not fit its data, detectors or checkpoints; nothing is trained.
        NonFiniteLoss: a loss became NaN or infinite; the last checkpoint is intact.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    prepared = prepared or prepare(recipe)
    directory.mkdir(parents=True, exist_ok=True)
    progress = Progress(directory, *objective, prepared.files.classes, recipe.fingerprint())
    content = resume_from(checkpoint, progress) if checkpoint is not None else None
    if content is None:
        (directory / "log.jsonl").unlink(missing_ok=True)
    (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe.as_dict(), sort_keys=False))
    settle()
    with tempfile.TemporaryDirectory(prefix="ikd-") as scratch:
        try:
            epochs = _train_stages(recipe, prepared, progress, content, scratch=scratch, report=report)
        finally:
            reset()
    return TrialResult(progress.best_metrics, progress.best_epoch, epochs, progress.best, progress.last)


def _train_stages(
    recipe: Recipe, prepared: Prepared, progress: Progress, content: Content | None, *, scratch: str,
    report: Report | None,
) -> int:  # fmt: skip
    """Train one stage after the other; return the epochs finished.

    A stage starts from the last checkpoint of the one before, as after an interruption, so that the two never differ.
    """
    plans = recipe.stages
    for index, plan in enumerate(plans):
        if content is not None and content["epoch"] >= plan.last and plan is not plans[-1]:
            continue
        runner = _build_runner(Stage(recipe, index, plan, prepared), progress, scratch=scratch, report=report)
        runner.resume_content = content
        try:
            runner.train()
        except StopTrial:
            return runner.epoch
        if plan is not plans[-1]:
            content = load(progress.last)
            del runner
            reset()  # the next teacher comes when this one has gone
    return runner.epoch


@dataclass(frozen=True)
class Stage:
    """One stage of a trial: its place, its plan, and what was made for it."""

    recipe: Recipe
    index: int
    plan: StagePlan
    prepared: Prepared

    @property
    def made(self) -> PreparedStage:
        """What was made for this stage."""
        return self.prepared.stages[self.index]

    @property
    def schedule_epochs(self) -> int:
        """Epochs that the learning-rate schedule spans."""
        return self.plan.epochs if self.recipe.schedule.policy.span == "stage" else self.recipe.total_epochs


def _model_of(stage: Stage) -> DistillDetector:
    in_force, teacher = stage.plan.recipe, None
    if in_force.teacher is not None and stage.made.weights is not None:
        teacher = load_teacher(in_force.teacher, stage.made.weights, stage.prepared.files.classes)
    # The seed comes after the teacher, whose building draws numbers too. The first stage's has no third word, so that a
    # trial with one teacher does not depend on there being stages.
    words = [stage.recipe.seed, 0xF00D, *([stage.index] if stage.index else [])]
    torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
    return build_model(in_force, stage.prepared.files, teacher).to(device_of(stage.recipe))


def _build_runner(stage: Stage, progress: Progress, *, scratch: str, report: Report | None) -> TrialRunner:
    MMLogger.get_instance("ikd", log_level="ERROR")  # mmengine notes every initialised weight
    recipe, plan, files, made = stage.recipe, stage.plan, stage.prepared.files, stage.made
    model = _model_of(stage)
    with_masks = bool(getattr(model.student, "with_mask", False))
    samples = train_loader(
        plan.recipe, files, perturbations=made.perturbations, boxes=made.boxes, with_masks=with_masks
    )
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        train = TrialRunner.build_dataloader(samples, recipe.seed)
        val = TrialRunner.build_dataloader(val_loader(recipe, files), recipe.seed)
    augmented = plan.first - 1 + round(plan.recipe.augment.stop_fraction * plan.epochs)
    runner = TrialRunner(
        model=model,
        work_dir=scratch,
        train_dataloader=train,
        train_cfg={"by_epoch": True, "max_epochs": plan.last, "val_interval": recipe.schedule.val_interval},
        val_dataloader=val,
        val_cfg={},
        val_evaluator=[CocoEvaluator(files.val)],
        optim_wrapper=optim_wrapper(recipe, model, device_of(recipe)),
        param_scheduler=param_schedulers(recipe, stage.schedule_epochs, len(train)),
        default_hooks={"timer": None, "logger": None, "checkpoint": None, "sampler_seed": None},
        custom_hooks=[EpochHook(recipe.seed, augmented), ReportHook(recipe, progress, report, stage=stage.index)],
        visualizer={"type": "Visualizer", "vis_backends": []},
        env_cfg={"mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0}},
        randomness={"seed": recipe.seed},
        log_level="ERROR",
        default_scope="mmdet",
        experiment_name=f"{progress.directory.name}-{stage.index}",
    )
    runner.first_epoch = plan.first - 1
    runner.carries = Carries(losses=not recipe.teachers.restart_losses, schedule=recipe.schedule.policy.span == "whole")
    return runner
