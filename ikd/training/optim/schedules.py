"""The schedule of the learning rate: how it begins, and how it falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmdet.engine import schedulers as _schedulers  # noqa: F401, registers the quadratic warm-up
from mmengine.optim.scheduler import OneCycleLR
from mmengine.registry import PARAM_SCHEDULERS

from ikd.config import Recipe

_RISE, _FALL = 25.0, 1e4
"""One-cycle begins at a 25th of the peak, and ends at a ten thousandth of that (Smith and Topin, as torch has it)."""
Part = dict[str, Any]


def param_schedulers(recipe: Recipe, epochs: int, steps_per_epoch: int) -> list[Part]:
    """Return the learning-rate schedule over `epochs`: warm-up by step, then the policy.

    Every part says where it ends: mmengine would take the end of the running stage.
    """
    falls: dict[str, Callable[[Recipe, int, int], list[Part]]] = {
        "step": _by_steps,
        "cosine": _cosine,
        "one_cycle": _one_cycle,
    }
    fall = falls.get(recipe.schedule.policy.type)
    return _warmup(recipe) + (fall(recipe, epochs, steps_per_epoch) if fall is not None else [])


def learning_rate(recipe: Recipe) -> float:
    """Return the peak learning rate, scaled linearly with the batch where the recipe asks for it."""
    settings = recipe.schedule.optimizer
    return settings.lr * (recipe.schedule.batch_size / settings.base_batch_size if settings.base_batch_size else 1.0)


def falling(recipe: Recipe, total: int) -> tuple[int, int]:
    """Return the steps between which the rate falls, of a schedule of `total` steps: after warm-up and before its tail.

    The second is not above the first where nothing is left between them.
    """
    policy = recipe.schedule.policy
    begin = max(recipe.schedule.warmup.iterations, round(policy.start * total))
    return begin, total - round(policy.tail * total)


def _warmup(recipe: Recipe) -> list[Part]:
    warmup = recipe.schedule.warmup
    span = {"by_epoch": False, "begin": 0, "end": warmup.iterations}
    if not warmup.iterations:
        return []
    if warmup.shape == "quadratic":
        return [{"type": "mmdet.QuadraticWarmupLR", **span}]
    if warmup.shape == "constant":
        # mmengine's is at full height one step early
        return [{"type": "ConstantLR", "factor": warmup.ratio, **span, "end": warmup.iterations + 1}]
    return [{"type": "LinearLR", "start_factor": warmup.ratio, **span}]


def _by_steps(recipe: Recipe, epochs: int, steps_per_epoch: int) -> list[Part]:
    policy = recipe.schedule.policy
    milestones = [round(share * epochs) for share in policy.milestones]
    by_epoch = {"by_epoch": True, "begin": 0, "end": epochs}
    return [{"type": "MultiStepLR", "milestones": milestones, "gamma": policy.gamma, **by_epoch}]


def _cosine(recipe: Recipe, epochs: int, steps_per_epoch: int) -> list[Part]:
    begin, end = falling(recipe, epochs * steps_per_epoch)
    reached = end + 1 if recipe.schedule.policy.tail else end  # mmengine's would stop a step before it
    span = {"T_max": end - begin, "begin": begin, "end": reached}
    floor = recipe.schedule.policy.floor
    lowest = {"eta_min_ratio": floor} if floor else {}
    return [{"type": "CosineAnnealingLR", "by_epoch": False, **span, **lowest}]


def _one_cycle(recipe: Recipe, epochs: int, steps_per_epoch: int) -> list[Part]:
    _, end = falling(recipe, epochs * steps_per_epoch)
    span = {"by_epoch": False, "begin": 0, "end": end}
    floor = recipe.schedule.policy.floor
    fall = {"final_div_factor": min(_FALL, 1 / (_RISE * floor))} if floor else {}
    return [{"type": "GroupedOneCycleLR", "total_steps": end, **span, **fall}]


@PARAM_SCHEDULERS.register_module()
class GroupedOneCycleLR(OneCycleLR):
    """One-cycle whose peak is each group's own rate, where mmengine's is one for all."""

    def __init__(self, optimizer: Any, *args: Any, **arguments: Any) -> None:
        peaks = [group["lr"] for group in optimizer.param_groups]
        super().__init__(optimizer, *args, eta_max=peaks, **arguments)
