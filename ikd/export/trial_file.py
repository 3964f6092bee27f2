"""The two checkpoints of an export: a trial's best.pth that is read, and the plain student.pth that is written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pydantic
import torch

from ikd.config import Recipe
from ikd.detectors import read_checkpoint
from ikd.errors import CheckpointError


@dataclass(frozen=True)
class TrialFile:
    """What a trial's best.pth says.

    Attributes:
        path: the file.
        weights: of the student, under mmdet's names.
        classes: names, in the order of the labels.
        epoch: of these weights, from 1.
        metrics: of that epoch, as recorded during training (AP in 0..1).
        recipe: what was trained.
    """

    path: Path
    weights: Mapping[str, torch.Tensor]
    classes: tuple[str, ...]
    epoch: int
    metrics: Mapping[str, float]
    recipe: Recipe


def read_trial(path: Path) -> TrialFile:
    """Read the best checkpoint of a trial.

    Raises:
        CheckpointError: missing, cut short, or no best.pth of a trial.
    """
    checkpoint = read_checkpoint(path)
    meta = torch.load(path, map_location="cpu", weights_only=True).get("meta")  # read_checkpoint has proven it loads
    missing = [key for key in ("epoch", "metrics", "recipe") if not isinstance(meta, dict) or key not in meta]
    if missing or checkpoint.classes is None:
        lacking = ", ".join(missing) or "classes"
        raise CheckpointError(f"{path}: must be the best.pth of a trial, but its meta lacks {lacking}")
    try:
        # JSON mode is the strict mode that takes a list for a tuple, as in the YAML of a recipe
        recipe = Recipe.model_validate_json(json.dumps(meta["recipe"]))
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise CheckpointError(
            f"{path}: must hold a recipe of this version of ikd, but {field}: {fault['msg']}"
        ) from error
    return TrialFile(path, checkpoint.state_dict, checkpoint.classes, meta["epoch"], meta["metrics"], recipe)


def write_student(trial: TrialFile, path: Path) -> None:
    """Write a plain mmdet 3.x checkpoint: weights, class names (under the 2.x name too), and nothing else to run.

    The same student gives the same bytes.
    """
    weights = {name: tensor.contiguous() for name, tensor in trial.weights.items()}
    meta = {
        "dataset_meta": {"classes": trial.classes},
        "CLASSES": trial.classes,
        "epoch": trial.epoch,
        "experiment_name": trial.recipe.name,
    }
    with path.open("wb") as file:
        torch.save({"meta": meta, "state_dict": weights}, file)
        file.flush()
        os.fsync(file.fileno())
