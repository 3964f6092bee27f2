"""From a trial's checkpoint to a folder that goes to production."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import yaml

from ikd.data import DataRecord, write_normal
from ikd.detectors import complexity
from ikd.errors import BadInput, CheckpointError, JobError, refuse
from ikd.evaluation import load_detector, read_config, run, val_loader
from ikd.export.card import Proven, write_card
from ikd.export.config import ANNOTATIONS, write_config
from ikd.export.exported import Exported, SearchContext
from ikd.export.folder import new_folder
from ikd.export.onnx import require_one_stage, require_onnx, write_onnx
from ikd.export.trial_file import TrialFile, read_trial, write_student
from ikd.files import sha256
from ikd.training import DataFiles, on_test_part
from ikd.trial import NotifyOf

TOLERANCE = 1e-4
"""Largest difference of bbox_mAP (0..1) between training and plain mmdet."""

STUDENT, CONFIG = "student.pth", "student.py"


def export_student(
    best: Path,
    destination: Path,
    *,
    context: SearchContext | None = None,
    data_root: Path | None = None,
    known: DataRecord | None = None,
    onnx: bool = False,
    progress: NotifyOf | None = None,
) -> Exported:
    """Make a plain mmdet detector of a trial's best student, and prove that it is as good as recorded.

    `destination` gets student.pth, student.py, val.json, recipe.yaml, card.md and card.json, and appears in one step
    once all of it is proven. An untouched earlier export is replaced; nothing else is ever deleted.

    Args:
        best: the trial's best.pth.
        destination: a folder that is new, empty, or an earlier export.
        context: the sweep that the student comes from, for the card.
        data_root: where the data set lies now, when that is not where the recipe says.
        known: what the student was trained and validated on, where that was noted; other data are refused.
        onnx: write student.onnx too (one-stage detectors; needs the extra `onnx`).
        progress: told how many images the student was evaluated on.

    Raises:
        BadInput: no checkpoint of a trial, data not there or of other content, a destination that holds something else.
        JobError: plain mmdet does not give the mAP recorded during training.
    """
    if onnx:
        require_onnx()
    trial = read_trial(best)
    if data_root is not None:
        trial = replace(trial, recipe=trial.recipe.at(str(data_root.expanduser().absolute())))
    files = _files(trial, known)
    origin = f", trial {context.trial} of the sweep {context.sweep}" if context else ""
    title = f"The student of the recipe {trial.recipe.name}{origin}, epoch {trial.epoch}."
    with new_folder(destination) as folder:
        write_student(trial, folder / STUDENT)
        write_config(trial.recipe, files, folder / CONFIG, title=title)
        write_normal(files.val, folder / ANNOTATIONS)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(trial.recipe.as_dict(), sort_keys=False), encoding="utf-8")
        found = _prove(trial, files, folder, context=context, onnx=onnx, progress=progress)
        write_card(trial, found, folder)
        digest = sha256(folder / STUDENT)
    target = destination.expanduser().resolve()
    return Exported(
        directory=target,
        checkpoint=target / STUDENT,
        config=target / CONFIG,
        card=target / "card.md",
        metrics=found.metrics,
        test=found.test,
        recorded={name: trial.metrics[name] for name in found.metrics if name in trial.metrics},
        epoch=trial.epoch,
        parameters=found.complexity.parameters,
        macs=found.complexity.macs,
        sha256=digest,
        onnx=target / found.onnx.file if found.onnx else None,
    )


def _files(trial: TrialFile, known: DataRecord | None) -> DataFiles:
    try:
        files = DataFiles.of(trial.recipe)
    except BadInput as error:
        if Path(trial.recipe.data.root).is_dir():
            raise
        raise BadInput(f"{error}; where the data set lies now is said by --data-root") from error
    if files.classes != trial.classes:
        raise CheckpointError(
            f"{trial.path}: was trained for the classes {list(trial.classes)}, "
            f"but {files.val} has {list(files.classes)}"
        )
    if known is not None and (changes := files.seen.changes_since(known)):
        rule = "must be the data set that the student was trained and validated on"
        hint = "say with --data-root where that lies now, or put it back as it was"
        refuse(f"{files.train} and {files.val}", rule, "; ".join(changes), hint)
    return files


def _prove(
    trial: TrialFile,
    files: DataFiles,
    folder: Path,
    *,
    context: SearchContext | None,
    onnx: bool,
    progress: NotifyOf | None,
) -> Proven:
    """Load what was written as anybody would, strictly, and measure it."""
    settings = read_config(folder / CONFIG)
    device = "cpu" if trial.recipe.device == "cpu" else "auto"  # not cuda: a student is exported anywhere
    detector = load_detector(settings, folder / STUDENT, files.classes, device=device)
    if onnx:
        require_one_stage(detector)
    loader = val_loader(settings, files.val, files.val_images, files.classes)
    told = None if progress is None else partial(progress, "evaluating the student in plain mmdet")
    metrics = run(detector, loader, files.val, kinds=trial.recipe.validate, progress=told)
    _compare(metrics, trial)
    test: Mapping[str, float] = {}
    if files.test is not None:  # the trial's own file: its classes and data are proven
        test = on_test_part(trial.recipe.with_values({"device": device}), trial.path, progress)
    cost = complexity(detector, loader.dataset)
    written = write_onnx(detector, folder, height=cost.height, width=cost.width) if onnx else None
    return Proven(files, metrics, test, cost, context, written)


def _compare(metrics: Mapping[str, float], trial: TrialFile) -> None:
    now, then = metrics["bbox_mAP"], trial.metrics.get("bbox_mAP", math.nan)
    if abs(now - then) <= TOLERANCE or (math.isnan(now) and math.isnan(then)):
        return
    raise JobError(
        f"{trial.path}: plain mmdet gives bbox_mAP {now:.6f}, the training recorded {then:.6f} in epoch {trial.epoch}; "
        f"they must agree to {TOLERANCE}. Has the data set changed since, or was it trained on another kind of device?"
    )
