"""From recipe to model: student, teacher, terms, and everything that can be refused before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ikd.config import Detector, Recipe, Teacher, home
from ikd.detectors import (
    build_detector,
    check_pair,
    detector_config,
    freeze,
    inherit,
    load_weights,
    read_checkpoint,
    tap_channels,
    tap_strides,
)
from ikd.distill import AdaptedLoss, PyramidSize, Scale, build_loss, rescale, takes
from ikd.distill.detector import DistillDetector
from ikd.training._data import DataFiles, typical_size


@dataclass(frozen=True)
class Pyramid:
    """Channels per level on both sides, and the strides they share."""

    student: Sequence[int]
    teacher: Sequence[int]
    strides: Sequence[int]


def build_model(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module | None) -> DistillDetector:
    """Build the model of a trial; the caller has seeded torch.

    Args:
        recipe: recipe.
        files: data of the recipe.
        teacher: frozen teacher with its weights, or None.

    Raises:
        BadInput: detectors that do not fit together, unknown detectors, unfit checkpoints.
    """
    student = build_detector(model_config(recipe.student, files.classes))
    if recipe.student.checkpoint:
        load_weights(student, _read(recipe.student.checkpoint), classes=files.classes)
    if teacher is None:
        return DistillDetector(student)
    if recipe.student.inherit:
        inherit(student, teacher)
    host, adversarial = recipe.distill.host, recipe.adversarial.enabled
    if host == "none" and not adversarial:
        return DistillDetector(student)
    check_pair(student, teacher)
    pyramid = Pyramid(tap_channels(student), tap_channels(teacher), tap_strides(teacher))
    divisor = int(getattr(student.data_preprocessor, "pad_size_divisor", 1))
    scale = _scale(recipe, files, pyramid, divisor)
    return DistillDetector(
        student,
        teacher,
        host=(host, _levels(recipe, host, scale, pyramid)) if host != "none" else None,
        adversarial=_levels(recipe, "adversarial", scale, pyramid) if adversarial else None,
    )


def model_config(detector: Detector, classes: Sequence[str]) -> Any:
    """Return the plain mmdet config of a recipe's detector."""
    return detector_config(
        detector.config,
        arguments=detector.arguments,
        overrides=detector.overrides,
        classes=classes,
        pretrained_backbone=detector.pretrained_backbone,
    )


def load_teacher(teacher: Teacher, weights: Path | str, classes: Sequence[str]) -> torch.nn.Module:
    """Build a teacher, load its weights strictly, freeze it.

    Raises:
        CheckpointError: the weights belong to another architecture or class list.
    """
    plain = teacher.model_copy(update={"pretrained_backbone": False})  # the checkpoint holds the backbone
    detector = build_detector(model_config(plain, classes))
    load_weights(detector, _read(weights), classes=classes)
    frozen: torch.nn.Module = freeze(detector)
    return frozen


def _read(weights: Path | str) -> Any:
    return read_checkpoint(weights, home() / "cache" / "checkpoints")


def _scale(recipe: Recipe, files: DataFiles, pyramid: Pyramid, divisor: int) -> Scale:
    reference = recipe.distill.rescale_from
    if reference is None:
        return Scale()
    height, width = typical_size(files.train, recipe.input.scale, recipe.input.keep_ratio, divisor)
    now = PyramidSize(height, width, pyramid.teacher[0])
    return rescale(PyramidSize(reference.height, reference.width, reference.channels), now, pyramid.strides)


def _levels(recipe: Recipe, name: str, scale: Scale, pyramid: Pyramid) -> list[AdaptedLoss]:
    section = recipe.adversarial if name == "adversarial" else getattr(recipe.distill, name)
    arguments = section.model_dump(exclude={"enabled"})
    optional = {"reduction": recipe.distill.reduction, "scale": scale}
    arguments |= {key: value for key, value in optional.items() if takes(name, key)}
    pairs = zip(pyramid.student, pyramid.teacher, strict=True)
    return [build_loss(name, student, teacher, **arguments) for student, teacher in pairs]
