"""How well a teacher sees, measured once: a recipe cannot tell a good checkpoint from a useless one."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ikd.config import Recipe, Teacher
from ikd.data import DataFiles
from ikd.detectors import boxes_only, fetch
from ikd.errors import CheckpointError
from ikd.evaluation import run
from ikd.files import sha256, write_text
from ikd.home import cache, digest, entry
from ikd.training.loaders import val_loader
from ikd.training.model import load_teacher, model_config
from ikd.training.prepared import device_of
from ikd.trial import NEAR_ZERO, Notify

_FORMAT = 1  # raise when another number is measured


def teacher_score(
    recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles, progress: Notify | None
) -> float | None:
    """Return a teacher's bbox_mAP on the validation part at the size that it teaches at; measured once for its content.

    Args:
        recipe: says the size of the images, and the device.
        teacher: which detector it is.
        weights: its checkpoint.
        files: data of the recipe.
        progress: called with images done and images to do, where it is measured now.

    Returns:
        0..1; None where the checkpoint cannot be read, which is refused when it is loaded for the training.
    """
    try:
        source = weights if isinstance(weights, Path) else _local(weights)
        content = {
            "format": _FORMAT,
            "weights": sha256(source),
            "detector": repr(model_config(teacher, files.classes).to_dict()),
            "data": files.record().val.fingerprint,
            "classes": files.classes,
            "input": [list(recipe.input.scale), recipe.input.keep_ratio],
        }
        with entry("scores", f"{digest(content)}.json") as file:
            if not file.is_file():
                write_text(file, json.dumps({"bbox_mAP": _measured(recipe, teacher, weights, files, progress)}))
            return float(json.loads(file.read_text())["bbox_mAP"])
    except (CheckpointError, OSError):
        return None


def _local(weights: str) -> Path:
    """Return the file of a checkpoint, downloaded where it is a URL."""
    return fetch(weights, cache("checkpoints")) if "://" in weights else Path(weights).expanduser()


def _measured(
    recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles, progress: Notify | None
) -> float:
    with torch.random.fork_rng(devices=[]):
        detector = load_teacher(teacher, weights, files.classes).to(device_of(recipe))
        with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
            loader = Runner.build_dataloader(val_loader(recipe, files, detector))
        with boxes_only(detector):
            metrics = run(detector, loader, files.val, kinds=("bbox",), progress=progress)
    return metrics["bbox_mAP"]


def said_of_teacher(name: str, score: float, files: DataFiles) -> str:
    """Return what a person is told of a teacher before it teaches."""
    text = f"teacher {name}: mAP {100 * score:.1f} on {files.val.name} at the size that it teaches at"
    if score < NEAR_ZERO or math.isnan(score):
        text += (
            "; warning: it sees next to nothing there, so there is little to learn from it: look at its checkpoint, "
            "classes and preprocessor, and at input.scale"
        )
    return text
