"""One stage of a trial: from plan to runner."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from ikd.config import Recipe, StagePlan
from ikd.detectors import has_masks
from ikd.distill import arrange
from ikd.distill.detector import DistillDetector
from ikd.evaluation import CocoEvaluator
from ikd.progress import library_level
from ikd.training.hooks import (
    AverageHook,
    CraftHook,
    EpochHook,
    HoldHook,
    PlaceHook,
    PrototypeHook,
    ReportHook,
    RiseHook,
    SizeHook,
)
from ikd.training.loaders import crafts_online, train_loader, val_loader
from ikd.training.model import build_stage_model
from ikd.training.optim import optim_wrapper, param_schedulers
from ikd.training.prepared import Prepared, PreparedStage, device_of
from ikd.training.progress import Progress
from ikd.training.runner import Carries, TrialRunner
from ikd.training.teachers.loading import load_teacher
from ikd.trial import Report


@dataclass(frozen=True)
class StageRun:
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
    def stores(self) -> list[Path]:
        """Folders of the perturbations that this stage and later ones read."""
        return [folder for one in self.prepared.stages[self.index :] for folder in one.stores]

    @property
    def schedule_epochs(self) -> int:
        """Epochs that the learning-rate schedule spans."""
        return self.plan.epochs if self.recipe.schedule.policy.span == "stage" else self.recipe.total_epochs


def _model_of(stage: StageRun) -> DistillDetector:
    in_force, files = stage.plan.recipe, stage.prepared.files
    pairs = zip(stage.plan.each, stage.made.each, strict=True)
    teachers = [
        load_teacher(plan.recipe.teacher, made.weights, files.classes)
        for plan, made in pairs
        if plan.recipe.teacher is not None and made.weights is not None
    ]
    # The seed comes after the teacher, whose building draws numbers too. The first stage's has no third word, so that a
    # trial with one teacher does not depend on there being stages.
    words = [stage.recipe.seed, 0xF00D, *([stage.index] if stage.index else [])]
    torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
    model = build_stage_model(stage.plan, files, teachers).to(device_of(stage.recipe))
    return arrange(model, in_force)


def _prototype_hooks(stage: StageRun) -> list[Hook]:
    first, epochs = stage.plan.first - 1, stage.recipe.total_epochs
    recipes = [plan.recipe for plan in stage.plan.each]
    return [
        PrototypeHook(recipe, stage.prepared.files, first=first, epochs=epochs, place=place)
        for place, recipe in enumerate(recipes)
        if recipe.distill.prototypes.enabled and recipe.teacher is not None
    ]


def _size_hooks(recipe: Recipe) -> list[Hook]:
    section = recipe.input.batch_scale
    return [SizeHook(section, recipe.seed)] if section.enabled else []


def _pace(recipe: Recipe) -> dict[str, Any]:
    """Return how often to validate, as mmengine's loop takes it: the last epochs of a training one by one."""
    schedule = recipe.schedule
    first = max(1, recipe.total_epochs - schedule.val_last + 1)  # from 1
    every = [(first + 1, 1)] if schedule.val_last else None  # mmengine asks with one more than have ended
    return {"val_interval": schedule.val_interval, "dynamic_intervals": every}


def build_runner(stage: StageRun, progress: Progress, *, scratch: Path, report: Report | None) -> TrialRunner:
    """Build model, data, optimiser and hooks of a stage.

    Args:
        stage: which one.
        progress: of the trial.
        scratch: folder for what is gone with the trial.
        report: called after each validation.
    """
    MMLogger.get_instance("ikd", log_level=library_level())  # mmengine notes every initialised weight
    recipe, plan, files, made = stage.recipe, stage.plan, stage.prepared.files, stage.made
    model = _model_of(stage)
    model.validates_masks = "segm" in recipe.validate
    read_masks = [model.student, *(model.teachers if crafts_online(plan.recipe) else [])]
    with_masks = any(has_masks(detector) for detector in read_masks)
    samples = train_loader(
        plan,
        files,
        perturbations=made.perturbations,
        beside=made.stores[1:],
        boxes=made.boxes,
        with_masks=with_masks,
        labels=made.labels,
    )
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        pinned = {"pin_memory": device_of(recipe).type == "cuda"}  # images go to the GPU while the CPU goes on
        train = TrialRunner.build_dataloader(samples | pinned, recipe.seed)
        val = TrialRunner.build_dataloader(val_loader(recipe, files, model.student) | pinned, recipe.seed)
    runner = TrialRunner(
        model=model,
        work_dir=str(scratch / f"rank-{get_rank()}"),
        train_dataloader=train,
        train_cfg={"by_epoch": True, "max_epochs": plan.last, **_pace(recipe)},
        val_dataloader=val,
        val_cfg={},
        val_evaluator=[CocoEvaluator(files.val, recipe.validate, scratch / "parts")],
        optim_wrapper=optim_wrapper(recipe, model, device_of(recipe)),
        param_scheduler=param_schedulers(recipe, stage.schedule_epochs, len(train)),
        default_hooks={
            "runtime_info": PlaceHook(),
            **dict.fromkeys(("timer", "logger", "checkpoint", "sampler_seed")),
        },
        custom_hooks=[
            EpochHook(recipe.seed),
            HoldHook(stage.stores),
            *([CraftHook(plan.recipe)] if crafts_online(plan.recipe) else []),
            *_size_hooks(recipe),
            RiseHook(plan),
            *_prototype_hooks(stage),
            *([AverageHook(recipe.schedule.ema)] if recipe.schedule.ema.enabled else []),
            ReportHook(recipe, progress, report, stage=stage.index),
        ],
        visualizer={"type": "Visualizer", "vis_backends": []},
        env_cfg={"mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0}},
        randomness={"seed": recipe.seed},
        log_level=library_level(),
        default_scope="mmdet",
        experiment_name=f"{progress.folder.path.name}-{stage.index}",
    )
    runner.first_epoch = plan.first - 1
    runner.carries = Carries(losses=not recipe.teachers.restart_losses, schedule=recipe.schedule.policy.span == "whole")
    return runner
