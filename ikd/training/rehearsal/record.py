"""Which rehearsals went well, by what they depend on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mmcv
import mmdet
import mmengine
import torch

from ikd.config import Detector, StagePlan
from ikd.data import DataFiles
from ikd.home import digest
from ikd.ops import install
from ikd.training.loaders import phases
from ikd.training.rehearsal.excerpt import COUNT, looks
from ikd.training.teachers.loading import model_config

_FORMAT = 3  # raise when a rehearsal tries more
_TERMS = ("augment", "adversarial", "attack", "distill")
_IDLE = {"attack": {"steps", "seed"}}
"""Whole numbers that change how much is done, or what is drawn, not whether it can be done."""


def rehearsal_key(plan: StagePlan, files: DataFiles, device: torch.device, *, sees: bool) -> str:
    """Return the name of a rehearsal: equal for two that end alike.

    What breaks a step are detectors, input, the kinds of terms, versions, and what the images look like; learning rate,
    loss weights and other strengths do not enter, so that a sweep over them rehearses once.

    Args:
        plan: the stage.
        files: the whole data of the recipe.
        device: where it runs.
        sees: whether the boxes of this stage's teacher drive a masking enhancement.
    """
    recipe = plan.recipe
    content = {
        "format": _FORMAT,
        "versions": [_own_version(), *(str(one.__version__) for one in (torch, mmengine, mmcv, mmdet))],
        "kernels": install().backend,
        "device": device.type,
        "student": _detector(recipe.student, files),
        "teacher": recipe.teacher and _detector(recipe.teacher, files),
        "inherit": recipe.student.inherit,
        "sees": sees,
        "input": _kinds(recipe.input.model_dump(mode="json"), set()),
        "validate": list(recipe.validate),
        "phases": [[phase.alters, phase.attacks, phase.mixes] for phase in phases(plan)],
        "batch": min(COUNT, recipe.schedule.batch_size),
        "amp": recipe.schedule.amp,
        "channels_last": recipe.schedule.channels_last,
        "teacher_precision": recipe.distill.teacher_precision,
        "images": looks(files),
        "terms": _terms(plan),
    }
    if plan.beside:
        content["beside"] = [
            [one.recipe.teacher and _detector(one.recipe.teacher, files), _terms(one)] for one in plan.beside
        ]
    return digest(content)


def _own_version() -> str:
    try:
        return version("ikd")
    except PackageNotFoundError:  # a source tree on the path
        return ""


def _detector(detector: Detector, files: DataFiles) -> str:
    return repr(model_config(detector, files.classes).to_dict())


def _terms(plan: StagePlan) -> dict[str, Any]:
    acting = plan.recipe.effective()
    if plan.recipe.teachers.sequence:
        (acting,) = acting["teachers"]
    return {name: _kinds({**acting[name]}, _IDLE.get(name, set())) for name in _TERMS if name in acting}


def _kinds(section: dict[str, Any], idle: set[str]) -> dict[str, Any]:
    """Return a section without its strengths, which are the numbers that need not be whole."""
    found = {name: _kinds(value, set()) if isinstance(value, dict) else value for name, value in section.items()}
    return {name: value for name, value in found.items() if not isinstance(value, float) and name not in idle}
