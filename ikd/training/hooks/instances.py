"""What a teacher makes of the boxes that may become prototypes, kept for every training that asks again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ikd.config import Recipe
from ikd.data import CocoIndex, DataFiles, chosen_instances
from ikd.detectors import weights_sha256
from ikd.distill.detector import Lesson
from ikd.errors import DiskFull, refuse
from ikd.files import sha256, whole_folder
from ikd.home import digest
from ikd.training.teachers.loading import model_config

_FORMAT = 1  # raise when other features are kept


def instances_of(recipe: Recipe, index: CocoIndex) -> NDArray[np.bool_]:
    """Return which annotations [A] may become prototypes as a recipe says.

    Raises:
        BadInput: none may.
    """
    section = recipe.distill.prototypes
    chosen = chosen_instances(
        index, min_side=section.min_side, images_per_class=section.images_per_class, seed=recipe.seed
    )
    if not chosen.any():
        rule = "must leave boxes for prototypes: no training box is wider and higher than it, px of the original image"
        largest = np.asarray(index.boxes)[index.held & ~index.set_aside, 2:].min(axis=1).max(initial=0)
        refuse("distill.prototypes.min_side", rule, section.min_side, f"it must be below {largest:g}")
    return chosen


def features_name(recipe: Recipe, files: DataFiles, lesson: Lesson, chosen: NDArray[np.bool_]) -> str:
    """Return the name of the folder of a teacher's features: equal for equal rows.

    Args:
        recipe: of the stage.
        files: data of the recipe.
        lesson: of the teacher in the stage, on its device.
        chosen: which annotations they are of, [A].
    """
    detectors = [model_config(one, files.classes).to_dict() for one in (recipe.student, recipe.teacher) if one]
    content: dict[str, Any] = {
        "format": _FORMAT,
        "teacher": [weights_sha256(lesson.teacher), repr(detectors[-1])],
        "levels": list(lesson.terms.teacher_levels),
        "canvas": [*(repr(one.get("data_preprocessor")) for one in detectors)],
        "divisor": lesson.canvas.divisor,
        "precision": [str(lesson.reader.teacher_type), next(lesson.teacher.parameters()).device.type],
        "data": [
            sha256(files.train),
            files.fingerprint(),
            recipe.data.orientation,
        ],  # rows have the file's order
        "input": [list(recipe.input.scale), recipe.input.keep_ratio],
        "chosen": hashlib.sha256(np.packbits(chosen).tobytes()).hexdigest(),
    }
    return digest(content)


def kept_features(folder: Path, levels: int) -> list[Tensor] | None:
    """Return features [n, d] by level, which stay on the disk until they are read; None where they are not kept."""
    files = [folder / f"{level}.npy" for level in range(levels)]
    if not all(file.is_file() for file in files):
        return None
    return [torch.from_numpy(np.load(file, mmap_mode="c")) for file in files]


def keep_features(folder: Path, features: Sequence[Tensor]) -> None:
    """Keep features [n, d] by level; where they find no room they are made anew by whoever needs them."""
    with contextlib.suppress(DiskFull, OSError), whole_folder(folder, replace=True) as made:
        for level, one in enumerate(features):
            np.save(made / f"{level}.npy", one.numpy())
