"""Overlap of boxes that stand side by side."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST_AREA = 1e-6
"""Divisors are at least this, in square pixels, as in mmdet."""


def overlap_parts(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas that boxes [..., 4] share with those of the same row, and the areas of their unions.

    A box with a negative side has no area: of two such sides the product would be one, and grow as the box turns over.
    """
    corners = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    common = (corners[1] - corners[0]).clamp(min=0).prod(dim=-1)
    areas = [(side[..., 2:] - side[..., :2]).clamp(min=0).prod(dim=-1) for side in (one, other)]
    return common, (areas[0] + areas[1] - common).clamp(min=_LEAST_AREA)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Return the intersection over union of boxes [..., 4] with those of the same row, [...]."""
    common, union = overlap_parts(one, other)
    return common / union


def giou_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return 1 - GIoU of boxes [..., 4] with those of the same row, [...], from 0 to 2.

    Sides may be negative, as those of heads that predict raw distances are at first.

    References:
        Rezatofighi et al., CVPR 2019.
    """
    common, union = overlap_parts(one, other)
    corners = torch.minimum(one[..., :2], other[..., :2]), torch.maximum(one[..., 2:], other[..., 2:])
    enclosing = (corners[1] - corners[0]).clamp(min=0).prod(dim=-1).clamp(min=_LEAST_AREA)
    return 1 - (common / union - (enclosing - union) / enclosing)
