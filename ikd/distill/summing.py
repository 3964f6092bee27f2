"""A loss between maps, level by level, as one number, and its effective weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.adapted import AdaptedPyramid
from ikd.distill.terms import Maps


def effective_weights(name: str, levels: nn.ModuleList, maps: Maps) -> dict[str, float]:
    """Return the effective weights of a term by name, summed over levels; none where its loss has none."""
    losses: list[Any] = [level.loss for level in levels]
    if not hasattr(losses[0], "effective_weight"):
        return {}
    sizes = [feature[0].numel() for feature in maps[1]]
    return _by_term(name, [loss.effective_weight(size) for loss, size in zip(losses, sizes, strict=True)])


def summed(levels: nn.ModuleList, maps: Maps, told: Sequence[Targets]) -> Tensor:
    """Sum a loss over levels, each told what is known there; one of the whole pyramid compares all by itself."""
    if isinstance(levels[0], AdaptedPyramid):
        counts = [one.confidence for one in told if one.confidence is not None]
        confidence = torch.stack(counts).mean(dim=0) if counts else None
        whole: Tensor = levels[0](*maps, replace(told[0], confidence=confidence))
        return whole
    rows = zip(levels, *maps, told, strict=True)
    return torch.stack([loss(student, teacher, known) for loss, student, teacher, known in rows]).sum()


def _by_term(name: str, weights: Sequence[float | Mapping[str, float]]) -> dict[str, float]:
    """Return effective weights summed over levels: of a loss with several terms one each, as `fgd_alpha`."""
    by_level = [weight if isinstance(weight, Mapping) else {"": weight} for weight in weights]
    return {f"{name}_{part}" if part else name: math.fsum(level[part] for level in by_level) for part in by_level[0]}
