"""Where the places of a dense head are, and what it codes against them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ikd.distill.views.locations import Level


def priors_of(generator: Any, levels: Sequence[Level], like: Tensor, **how: Any) -> Tensor:
    """Return anchors or points of all levels, [M, 4] or [M, 2] in input pixels, of the type of `like`."""
    sizes = [(level.height, level.width) for level in levels]
    return torch.cat(generator.grid_priors(sizes, dtype=like.dtype, device=like.device, **how))


def middles(priors: Tensor) -> Tensor:
    """Return the middles of anchors or points, [M, 2]."""
    return priors if priors.shape[1] == 2 else (priors[:, :2] + priors[:, 2:]) / 2


def strides_at(levels: Sequence[Level], like: Tensor) -> Tensor:
    """Return the stride of each place, [M, 1]."""
    return torch.cat([like.new_full((level.places, 1), level.stride) for level in levels])


def decoded(head: Any, priors: Tensor, coded: Tensor) -> Tensor:
    """Decode [N, M, 4] by the head's own coder."""
    every = priors.expand(len(coded), *priors.shape).flatten(0, 1)
    boxes: Tensor = head.bbox_coder.decode(every, coded.flatten(0, 1))
    return boxes.view(coded.shape)
