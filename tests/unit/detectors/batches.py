"""A batch that every family can train on, and pairs as they are distilled."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ikd.detectors import shared_levels, tap_channels
from ikd.distill import Targets, build_loss, takes
from tests.unit.attack.toys import sample


def batch(side: int, count: int = 2, seed: int = 0) -> tuple[Tensor, list[Any]]:
    """Normalised images [N, 3, side, side] with a box and its mask each."""
    from mmdet.structures.mask import BitmapMasks

    samples = []
    for index in range(count):
        low, high = 8 + 4 * index, side // 2 + 4 * index
        made = sample((side, side), index + 1, [(low, low, high, high)], label=index % 2)
        made.set_metainfo({"batch_input_shape": (side, side), "pad_shape": (side, side)})
        mask = np.zeros((1, side, side), np.uint8)
        mask[0, low:high, low:high] = 1
        made.gt_instances.masks = BitmapMasks(mask, side, side)
        samples.append(made)
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return images, samples


def total(losses: dict[str, Any]) -> Any:
    """The sum that mmdet trains on."""
    parts = [value for name, value in losses.items() if "loss" in name]
    each = [part for value in parts for part in (value if isinstance(value, list) else [value])]
    return torch.stack([part.mean() for part in each]).sum()


def summed(loss: str, pair: tuple[Any, Any], maps: tuple[Any, Any], samples: list[Any], side: int) -> Tensor:
    """A loss over the levels that student and teacher share; maps at the taps, images of side x side pixels."""
    shared, (ours, theirs) = shared_levels(*pair), (tap_channels(one) for one in pair)
    made = [one.gt_instances for one in samples]
    targets = Targets([one.bboxes for one in made], [one.labels for one in made], (side, side))
    parts = []
    for level, (low, high) in enumerate(zip(shared.student, shared.teacher, strict=True)):
        module = build_loss(loss, ours[low], theirs[high], **({"level": level} if takes(loss, "level") else {}))
        parts.append(module(maps[0][low], maps[1][high], targets))
    return torch.stack(parts).sum()
