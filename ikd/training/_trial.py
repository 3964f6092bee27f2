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

from ikd.config import Recipe
from ikd.training._data import CocoEvaluator, train_loader, val_loader
from ikd.training._hooks import EpochHook, ReportHook
from ikd.training._model import build_model
from ikd.training._optim import optim_wrapper, param_schedulers
from ikd.training._prepare import Prepared, device_of, prepare
from ikd.training._progress import Metrics, Progress, Report, StopTrial, resume_from
from ikd.training._reset import reset, settle
from ikd.training._runner import TrialRunner


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
) -> TrialResult:
    """Train one recipe.

    Args:
        recipe: what to train.
        report: called once after each validation; may raise `StopTrial`.
        checkpoint: `last.pth` of the same recipe, to go on from its epoch.
        directory: receives best.pth, last.pth, recipe.yaml and log.jsonl.
        objective: metric that decides the best epoch, and `max` or `min`.
        threads: CPU threads of torch; None leaves them.

    Returns:
        The best epoch's metrics and files.

    Raises:
        BadInput: the recipe does not fit its data, detectors or checkpoints; nothing is trained.
        NonFiniteLoss: a loss became NaN or infinite; the last checkpoint is intact.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    prepared = prepare(recipe)
    directory.mkdir(parents=True, exist_ok=True)
    progress = Progress(directory, *objective, prepared.files.classes, recipe.fingerprint())
    content = resume_from(checkpoint, progress) if checkpoint is not None else None
    if content is None:
        (directory / "log.jsonl").unlink(missing_ok=True)
    (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe.as_dict(), sort_keys=False))
    settle()
    MMLogger.get_instance("ikd", log_level="ERROR")  # mmengine notes every initialised weight
    with tempfile.TemporaryDirectory(prefix="ikd-") as scratch:
        try:
            runner = _build_runner(recipe, prepared, progress, scratch=scratch, report=report)
            runner.resume_content = content
            with contextlib.suppress(StopTrial):
                runner.train()
            epochs = runner.epoch
        finally:
            reset()
    return TrialResult(progress.best_metrics, progress.best_epoch, epochs, progress.best, progress.last)


def _build_runner(
    recipe: Recipe, prepared: Prepared, progress: Progress, *, scratch: str, report: Report | None
) -> TrialRunner:
    torch.manual_seed(int(np.random.SeedSequence([recipe.seed, 0xF00D]).generate_state(1)[0]))
    device = device_of(recipe)
    model = build_model(recipe, prepared.files, prepared.teacher).to(device)
    with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        train = TrialRunner.build_dataloader(train_loader(recipe, prepared.files, prepared.perturbations), recipe.seed)
        val = TrialRunner.build_dataloader(val_loader(recipe, prepared.files), recipe.seed)
    schedule = recipe.schedule
    return TrialRunner(
        model=model,
        work_dir=scratch,
        train_dataloader=train,
        train_cfg={"by_epoch": True, "max_epochs": schedule.epochs, "val_interval": schedule.val_interval},
        val_dataloader=val,
        val_cfg={},
        val_evaluator=[CocoEvaluator(prepared.files.val)],
        optim_wrapper=optim_wrapper(recipe, model, device),
        param_scheduler=param_schedulers(recipe, len(train)),
        default_hooks={"timer": None, "logger": None, "checkpoint": None, "sampler_seed": None},
        custom_hooks=[
            EpochHook(recipe.seed, round(recipe.augment.stop_fraction * schedule.epochs)),
            ReportHook(recipe, progress, report),
        ],
        visualizer={"type": "Visualizer", "vis_backends": []},
        env_cfg={"mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0}},
        randomness={"seed": recipe.seed},
        log_level="ERROR",
        default_scope="mmdet",
        experiment_name=progress.directory.name,
    )
