"""From recipe to model: student, teacher, terms, and everything that can be refused before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ikd.config import HOSTS, Detector, Recipe, Teacher, compares_maps
from ikd.data import DataFiles
from ikd.detectors import (
    build_detector,
    detector_config,
    freeze,
    inherit,
    load_weights,
    read_checkpoint,
    tap_channels,
)
from ikd.distill import AdaptedLoss, PyramidSize, Scale, build_loss, canvas_divisor, rescale, takes
from ikd.distill.crosskd import CrossHeads
from ikd.distill.detector import DistillDetector, Terms
from ikd.distill.prototypes.term import PrototypeTerm
from ikd.home import cache
from ikd.training.levels import Levels, aligned_levels, choose_levels
from ikd.training.loaders import typical_size


@dataclass(frozen=True)
class Pyramid:
    """Channels on both sides of the levels that are distilled, and which these are."""

    student: Sequence[int]
    teacher: Sequence[int]
    levels: Levels


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
    if not (distill.host != "none" or compares_maps(recipe)):
        return DistillDetector(student)
    return DistillDetector(student, teacher, _terms(recipe, files, student, teacher))


def _terms(recipe: Recipe, files: DataFiles, student: Any, teacher: Any) -> Terms:
    distill, host = recipe.distill, recipe.distill.host
    if host != "none" and HOSTS[host].between_heads:
        assert distill.reduction != "variance", "a recipe refuses it"
        heads = CrossHeads(student, teacher, **getattr(distill, host).model_dump(), reduction=distill.reduction)
        if not compares_maps(recipe):
            return Terms(heads=heads, measured=distill.measure_gradients)
    else:
        heads = None
    levels = choose_levels(recipe, files, student, teacher)
    channels = tap_channels(student), tap_channels(teacher)
    pyramid = Pyramid(
        [channels[0][level] for level in levels.student],
        [channels[1][level] for level in levels.teacher],
        levels,
    )
    scale = _scale(recipe, files, pyramid, canvas_divisor(student, teacher))
    aligned = aligned_levels(recipe, levels)
    inputs = distill.sfa.mode == "standardise_inputs"
    return Terms(
        levels.student,
        levels.teacher,
        host=None if heads or host == "none" else (host, _losses(recipe, host, scale, pyramid)),
        standardised=frozenset(aligned if inputs else ()),
        alignment={}
        if inputs
        else {
            level: build_loss("pkd", pyramid.student[level], pyramid.teacher[level], weight=recipe.distill.sfa.weight)
            for level in aligned
        },
        adversarial=_losses(recipe, "adversarial", scale, pyramid) if recipe.adversarial.enabled else None,
        statistics_follow=recipe.adversarial.updates_statistics,
        heads=heads,
        prototypes=_prototypes(recipe, files, student, pyramid) if distill.prototypes.enabled else None,
        resized=distill.match == "index",
        measured=distill.measure_gradients,
        cells_factor=scale.kept if _acts(recipe) else None,
        said=levels.said,
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
    return read_checkpoint(weights, cache("checkpoints"))


def _scale(recipe: Recipe, files: DataFiles, pyramid: Pyramid, divisor: int) -> Scale:
    """Return what weights of sums are multiplied by: for another input size, and for levels that are left out.

    The second is the ratio of cells at the input that the weights belong to: that of `rescale_from`, or the recipe's.
    """
    distill, strides, whole = recipe.distill, pyramid.levels.strides, pyramid.levels.shared.student_strides
    reference, keeps = distill.rescale_from, distill.keep_strength and strides != whole
    if reference is None and not keeps:
        return Scale()
    height, width = typical_size(files.train, recipe.input.scale, recipe.input.keep_ratio, divisor)
    now = PyramidSize(height, width, pyramid.teacher[0])
    before = now if reference is None else PyramidSize(reference.height, reference.width, reference.channels)
    return rescale(before, now, strides, whole=whole if keeps else strides)


def _losses(recipe: Recipe, name: str, scale: Scale, pyramid: Pyramid) -> list[AdaptedLoss]:
    section = recipe.adversarial if name == "adversarial" else getattr(recipe.distill, name)
    arguments = section.model_dump(include=set(section.hyperparameters()))
    reduction = recipe.distill.reduction
    if takes(name, "reduction") or reduction == "variance":
        arguments |= {"reduction": reduction}
    if takes(name, "scale"):
        arguments |= {"scale": scale}
    sides = zip(pyramid.levels.positions, pyramid.student, pyramid.teacher, strict=True)
    return [
        build_loss(name, ours, theirs, **arguments, **({"level": level} if takes(name, "level") else {}))
        for level, ours, theirs in sides
    ]


def _prototypes(recipe: Recipe, files: DataFiles, student: Any, pyramid: Pyramid) -> PrototypeTerm:
    section = recipe.distill.prototypes
    names = ("count", "global_weight", "feature_weight", "background_weight", "coefficients", "strength")
    return PrototypeTerm(
        pyramid.student,
        pyramid.teacher,
        classes=len(files.classes),
        over_levels="mean" if getattr(student, "with_roi_head", False) else "sum",
        **{name: getattr(section, name) for name in names},
    )


def _acts(recipe: Recipe) -> bool:
    """Tell whether a factor on sums acts on any loss of the recipe."""
    distill = recipe.distill
    names = [distill.host] if distill.host != "none" else []
    names += ["adversarial"] if recipe.adversarial.enabled else []
    return distill.keep_strength and distill.reduction == "published" and any(takes(name, "scale") for name in names)
