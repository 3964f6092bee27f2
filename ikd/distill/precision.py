"""In which numbers, memory order and compiled form a trial computes: what a GPU wants, where a recipe asks for it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch
import torch._functorch.config
from torch.utils._triton import has_triton

from ikd.config import Recipe
from ikd.distill.losses.adapted import AdaptedLoss
from ikd.errors import refuse

if TYPE_CHECKING:
    from ikd.distill.detector import DistillDetector  # and with it mmengine

COMPILER = "inductor"
"""What `torch.compile` makes machine code with."""
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def autocast_type(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """Return the type of the student's forward pass under `schedule.amp`; None is full precision."""
    amp = recipe.schedule.amp
    if isinstance(amp, str):
        return TYPES[amp]
    if not amp:
        return None
    return torch.float16 if device.type == "cuda" else torch.bfloat16


def check_precision(recipe: Recipe, device: torch.device) -> None:
    """Refuse what the device of a trial cannot compute; asked where a trial runs, not where a sweep is planned.

    Raises:
        BadInput: names the field, the value and what would be right.
    """
    teaching = [("distill.teacher_precision", plan.recipe.distill.teacher_precision) for plan in recipe.stages]
    for field, value in [("schedule.amp", recipe.schedule.amp), *teaching]:
        if value == "float16" and device.type == "cpu":
            refuse(f"recipe {recipe.name}: {field}", "must not be float16 on a CPU", value, "take bfloat16")
        if (
            value == "bfloat16"
            and device.type == "cuda"
            and not torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            rule = f"must not be bfloat16 on a {torch.cuda.get_device_name(device)}, which cannot compute in it"
            refuse(f"recipe {recipe.name}: {field}", rule, value, "take float16")
    if recipe.schedule.compile and (lacking := _no_compiler(device)) is not None:
        refuse(f"recipe {recipe.name}: schedule.compile", f"must be false here: {lacking}", True)


def _no_compiler(device: torch.device) -> str | None:
    if device.type == "cuda":
        return None if has_triton() else "torch compiles for a GPU with triton, which is missing or too old for it"
    found = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    return None if found else "torch compiles for a CPU with a C++ compiler, and there is none on PATH"


def arrange(model: DistillDetector, recipe: Recipe) -> DistillDetector:
    """Let a model on its device compute as the recipe in force asks.

    Only the backbones are compiled: the losses read inner layers of the necks, and heads change shape with every image.
    """
    named = isinstance(recipe.schedule.amp, str)
    for module in model.modules():
        if isinstance(module, AdaptedLoss):
            module.generates_under_autocast = named
    asked = recipe.distill.teacher_precision
    for lesson in model.lessons:
        lesson.reader.teacher_type = None if asked == "as_student" else TYPES[asked]
    if recipe.schedule.channels_last:
        model.to(memory_format=torch.channels_last)
        model.canvas.memory_format = torch.channels_last
    if recipe.schedule.compile:
        for detector in (model.student, *model.teachers):
            _compile(detector.backbone)
    return model


def _compile(module: Any) -> None:
    # a term's pull is measured before the backward pass, on the same graph, whose buffers must live that long
    torch._functorch.config.donated_buffer = False
    # Sizes are symbols from the first on: torch would else begin to generalise when it has met a second one, so that a
    # resumed trial, or the second one of a process, would run other machine code than an uninterrupted one.
    module.compile(backend=COMPILER, dynamic=True)  # in place: names in a checkpoint stay as they are
