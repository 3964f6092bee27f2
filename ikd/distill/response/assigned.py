"""The assignments of four dense heads, level by level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor


@dataclass
class Assignment:
    """The student's own assignment, per level in the order image, row, column, anchor (M = N H W A of the level).

    Attributes:
        weights: [M], weight of each anchor in the classification loss; 0 for ignored ones.
        positive: [M], whether the anchor has an object.
        count: number of positives, averaged over devices, at least 1.
    """

    weights: list[Tensor]
    positive: list[Tensor]
    count: Tensor


def flat(maps: list[Tensor], size: int) -> Tensor:
    """Flatten levels of [N, A size, H, W] to [M, size], in the order level, image, row, column, anchor."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, size) for level in maps])


def _anchors_assigned(head: Any, targets: Sequence[Any], *, first: int) -> Assignment:
    """Read labels and weights at the places `first` and after it; the head counts at least one positive an image."""
    labels, weights = ([level.flatten() for level in part] for part in targets[first : first + 2])
    return _assignment(head, labels, weights, weights[0].new_full((), float(targets[-1])))


def _points_assigned(head: Any, targets: Sequence[Any]) -> Assignment:
    labels = list(targets[0])
    return _assignment(head, labels, [torch.ones_like(label, dtype=torch.float) for label in labels], None)


def _assignment(head: Any, labels: list[Tensor], weights: list[Tensor], count: Tensor | None) -> Assignment:
    """Count the positives where the head has not, as its own loss does."""
    from mmdet.utils import reduce_mean  # mmdet only where a detector exists

    positive = [(label >= 0) & (label < head.num_classes) for label in labels]
    count = torch.cat(positive).sum().float() if count is None else count
    return Assignment(weights, positive, reduce_mean(count).clamp(min=1))


_AFTER_ANCHORS = partial(_anchors_assigned, first=1)  # GFL and ATSS return their anchors first
ASSIGNED: Mapping[str, Callable[[Any, Sequence[Any]], Assignment]] = MappingProxyType(
    {
        "ATSSHead": _AFTER_ANCHORS,
        "FCOSHead": _points_assigned,
        "GFLHead": _AFTER_ANCHORS,
        "RetinaHead": partial(_anchors_assigned, first=0),
    }
)
"""By the name of a head's class, what makes the assignment of that head and what its `get_targets` returned."""
