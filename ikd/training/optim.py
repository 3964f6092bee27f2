"""Optimiser, mixed precision and learning-rate schedule of a recipe."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import OptimWrapper

from ikd.config import Recipe
from ikd.training.averaging import CpuAmpOptimWrapper, GpuAmpOptimWrapper, PlainOptimWrapper


def optim_wrapper(recipe: Recipe, model: torch.nn.Module, device: torch.device) -> OptimWrapper:
    """Build the optimiser over student and loss modules, with clipping and mixed precision."""
    settings, rate = recipe.schedule.optimizer, learning_rate(recipe)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(trained, rate, momentum=settings.momentum, weight_decay=settings.weight_decay)
        if settings.type == "sgd"
        else torch.optim.AdamW(trained, rate, weight_decay=settings.weight_decay)
    )
    clip = recipe.schedule.clip
    arguments: dict[str, Any] = {"optimizer": optimizer, "clip_grad": {"max_norm": clip} if clip else None}
    if not recipe.schedule.amp:
        return PlainOptimWrapper(**arguments)
    return GpuAmpOptimWrapper(**arguments) if device.type == "cuda" else CpuAmpOptimWrapper(**arguments)


def param_schedulers(recipe: Recipe, epochs: int, steps_per_epoch: int) -> list[dict[str, Any]]:
    """Return the learning-rate schedule over `epochs`: warm-up by step, then the policy.

    Every part says where it ends: mmengine would take the end of the running stage.
    """
    schedule, policy = recipe.schedule, recipe.schedule.policy
    total = epochs * steps_per_epoch
    warmup = schedule.warmup
    parts: list[dict[str, Any]] = []
    if warmup.iterations:
        parts.append(
            {"type": "LinearLR", "start_factor": warmup.ratio, "by_epoch": False, "begin": 0, "end": warmup.iterations}
        )
    if policy.type == "step":
        milestones = [round(share * epochs) for share in policy.milestones]
        by_epoch = {"by_epoch": True, "begin": 0, "end": epochs}
        parts.append({"type": "MultiStepLR", "milestones": milestones, "gamma": policy.gamma, **by_epoch})
    elif policy.type == "cosine":
        begin = warmup.iterations
        span = {"T_max": total - begin, "begin": begin, "end": total}
        parts.append({"type": "CosineAnnealingLR", "by_epoch": False, **span})
    elif policy.type == "one_cycle":
        by_step = {"by_epoch": False, "begin": 0, "end": total}
        parts.append({"type": "OneCycleLR", "eta_max": learning_rate(recipe), "total_steps": total, **by_step})
    return parts


def learning_rate(recipe: Recipe) -> float:
    """Return the peak learning rate, scaled linearly with the batch where the recipe asks for it."""
    settings = recipe.schedule.optimizer
    return settings.lr * (recipe.schedule.batch_size / settings.base_batch_size if settings.base_batch_size else 1.0)
