"""The optimiser of a recipe: which parameters it moves, in which groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ikd.config import Recipe
from ikd.distill import autocast_type
from ikd.errors import refuse
from ikd.training.apart import WithApart
from ikd.training.optim.schedules import learning_rate
from ikd.training.optim.wrapper import ScaledOptimWrapper, TrialOptimWrapper

STUDENT = "student."
REST = "rest"
"""Name of the group of what no option picks out."""
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def optim_wrapper(recipe: Recipe, model: nn.Module, device: torch.device) -> TrialOptimWrapper:
    """Build the optimiser over student and loss modules, with clipping and mixed precision.

    Raises:
        BadInput: `schedule.optimizer.lr_mult` names no part of the student.
    """
    check_parts(recipe, model)
    settings, rate = recipe.schedule.optimizer, learning_rate(recipe)
    apart = _apart(model)
    trained = _groups(recipe, model, {id(parameter) for parameter in apart}, rate)
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(
            trained, rate, momentum=settings.momentum, weight_decay=settings.weight_decay, nesterov=settings.nesterov
        )
        if settings.type == "sgd"
        else torch.optim.AdamW(trained, rate, weight_decay=settings.weight_decay)
    )
    if apart:
        icd = recipe.distill.icd
        optimizer = WithApart(
            optimizer, apart, lr=icd.decoder_lr, max_norm=icd.decoder_clip, weight_decay=settings.weight_decay
        )
    autocast = autocast_type(recipe, device)
    kind = ScaledOptimWrapper if autocast is torch.float16 else TrialOptimWrapper
    return kind(optimizer, model, max_norm=recipe.schedule.clip, autocast=autocast)


def check_parts(recipe: Recipe, model: nn.Module) -> None:
    """Refuse a factor of the rate that no trained parameter of the student has.

    Raises:
        BadInput: names the part, and those that there are.
    """
    names = [name for name, _, _ in _trained(model) if name.startswith(STUDENT)]
    for part, factor in recipe.schedule.optimizer.lr_mult.items():
        if not any(_within(part, name) for name in names):
            parts = ", ".join(dict.fromkeys(name.split(".")[1] for name in names))
            rule = "must be whole words of the name of a trained parameter of the student"
            field = f"recipe {recipe.name}: schedule.optimizer.lr_mult.{part}"
            refuse(field, rule, factor, f"its parts are {parts}")


def trained_names(model: nn.Module, optimizer: Any) -> list[str]:
    """Return the names of the trained parameters, in the optimiser's order: that of its state."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(one)] for group in optimizer.param_groups for one in group["params"]]


def _groups(recipe: Recipe, model: nn.Module, apart: set[int], rate: float) -> list[dict[str, Any]]:
    """Return the groups of parameters with one rate and one decay, `REST` first; the names say what they differ by.

    In each the model's order holds, so that without any option there is one group, of all.
    """
    settings = recipe.schedule.optimizer
    found: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter, module in _trained(model):
        if id(parameter) not in apart:
            key = _factor(settings.lr_mult, name), _decays(recipe, name, module)
            found.setdefault(key, []).append(parameter)
    groups = []
    for factor, decays in sorted(found, key=lambda key: (key[0] != 1, not key[1], key[0])):
        said = [*([f"lr x{factor:g}"] if factor != 1 else []), *([] if decays else ["no decay"])]
        group = {"params": found[factor, decays], "name": ", ".join(said) or REST, "lr": rate * factor}
        groups.append(group if decays else group | {"weight_decay": 0.0})
    return groups


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """Yield name, parameter and owner of what is trained, once each, in the order of `parameters()`."""
    known: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in known:
                known.add(id(parameter))
                yield f"{prefix}.{name}" if prefix else name, parameter, module


def _factor(factors: Mapping[str, float], name: str) -> float:
    if not name.startswith(STUDENT):
        return 1.0
    parts = [part for part in factors if _within(part, name)]
    return factors[max(parts, key=lambda part: (part.count("."), len(part)))] if parts else 1.0


def _within(part: str, name: str) -> bool:
    """Tell whether a part is whole words of a dotted name, standing together."""
    return f".{part}." in f".{name.removeprefix(STUDENT)}."


def _decays(recipe: Recipe, name: str, module: nn.Module) -> bool:
    settings = recipe.schedule.optimizer
    if isinstance(module, _NORMS):
        return settings.norm_decay
    return settings.bias_decay or not name.endswith("bias")


def _apart(model: nn.Module) -> list[nn.Parameter]:
    """Return what has an optimiser of its own: a decoder's parameters."""
    decoder = getattr(model, "decoder", None)
    return [] if decoder is None else list(decoder.parameters())
