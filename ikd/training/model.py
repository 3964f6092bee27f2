"""From recipe to model: student, teacher, terms, and everything that can be refused before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ikd.config import HOSTS, Detector, Recipe, Teacher
from ikd.data import DataFiles
from ikd.detectors import (
    build_detector,
    detector_config,
    freeze,
    inherit,
    load_weights,
    read_checkpoint,
    shared_levels,
    tap_channels,
)
from ikd.distill import AdaptedLoss, PyramidSize, Scale, build_loss, canvas_divisor, rescale, takes
from ikd.distill.crosskd import CrossHeads
from ikd.distill.detector import DistillDetector, Terms
from ikd.errors import BadInput
from ikd.home import cache
from ikd.training.loaders import typical_size


@dataclass(frozen=True)
class Pyramid:
    """Channels on both sides and strides, for the levels that student and teacher share."""

    student: Sequence[int]
    teacher: Sequence[int]
    strides: Sequence[int]


def build_model(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module | None) -> DistillDetector:
    """Build the model of one stage; the caller has seeded torch.

    Args:
        recipe: recipe in force, with at most one teacher.
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
    distill = recipe.distill
    if distill.host == "none" and not (recipe.adversarial.enabled or distill.sfa.enabled):
        return DistillDetector(student)
    return DistillDetector(student, teacher, _terms(recipe, files, student, teacher))


def _terms(recipe: Recipe, files: DataFiles, student: Any, teacher: Any) -> Terms:
    distill, host = recipe.distill, recipe.distill.host
    if host != "none" and HOSTS[host].between_heads:
        heads = CrossHeads(student, teacher, **getattr(distill, host).model_dump(), reduction=distill.reduction)
        if not (recipe.adversarial.enabled or distill.sfa.enabled):
            return Terms(heads=heads)
    else:
        heads = None
    shared = shared_levels(student, teacher)
    channels = tap_channels(student), tap_channels(teacher)
    pyramid = Pyramid(
        [channels[0][level] for level in shared.student],
        [channels[1][level] for level in shared.teacher],
        shared.strides,
    )
    scale = _scale(recipe, files, pyramid, canvas_divisor(student, teacher))
    aligned = _aligned_levels(recipe, pyramid)
    inputs = distill.sfa.mode == "standardise_inputs"
    return Terms(
        shared.student,
        shared.teacher,
        host=None if heads or host == "none" else (host, _levels(recipe, host, scale, pyramid)),
        standardised=frozenset(aligned if inputs else ()),
        alignment={}
        if inputs
        else {
            level: build_loss("pkd", pyramid.student[level], pyramid.teacher[level], weight=recipe.distill.sfa.weight)
            for level in aligned
        },
        adversarial=_levels(recipe, "adversarial", scale, pyramid) if recipe.adversarial.enabled else None,
        statistics_follow=recipe.adversarial.updates_statistics,
        heads=heads,
    )


def _aligned_levels(recipe: Recipe, pyramid: Pyramid) -> tuple[int, ...]:
    """Return the levels of SFA.

    Raises:
        BadInput: student and teacher do not share as many.
    """
    sfa, count = recipe.distill.sfa, len(pyramid.strides)
    if not sfa.enabled:
        return ()
    if missing := [level for level in sfa.levels if level >= count]:
        raise BadInput(
            f"recipe {recipe.name}: distill.sfa.levels: must be among 0..{count - 1}, the levels that student and "
            f"teacher share (strides {', '.join(map(str, pyramid.strides))}), but got {missing[0]}"
        )
    return sfa.levels


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
    return read_checkpoint(weights, cache("checkpoints"))


def _scale(recipe: Recipe, files: DataFiles, pyramid: Pyramid, divisor: int) -> Scale:
    reference = recipe.distill.rescale_from
    if reference is None:
        return Scale()
    height, width = typical_size(files.train, recipe.input.scale, recipe.input.keep_ratio, divisor)
    now = PyramidSize(height, width, pyramid.teacher[0])
    return rescale(PyramidSize(reference.height, reference.width, reference.channels), now, pyramid.strides)


def _levels(recipe: Recipe, name: str, scale: Scale, pyramid: Pyramid) -> list[AdaptedLoss]:
    section = recipe.adversarial if name == "adversarial" else getattr(recipe.distill, name)
    arguments = section.model_dump(include=set(section.hyperparameters()))
    optional = {"reduction": recipe.distill.reduction, "scale": scale}
    arguments |= {key: value for key, value in optional.items() if takes(name, key)}
    pairs = enumerate(zip(pyramid.student, pyramid.teacher, strict=True))
    return [
        build_loss(name, ours, theirs, **arguments, **({"level": level} if takes(name, "level") else {}))
        for level, (ours, theirs) in pairs
    ]
