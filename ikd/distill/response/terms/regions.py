"""LD's valuable localisation region: the anchors around an object that miss its threshold by little."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ikd.distill.views import Locations
from ikd.distill.views.boxes import overlap_parts

NEAREST = 9
"""Anchors of each level, nearest to the object's centre, that its threshold is made of (ATSS)."""
_SIDE_STRIDES = 8.0
"""Anchors are squares of this side, in strides, around the centres, as GFL assigns."""


@torch.no_grad()
def valuable_regions(student: Locations, objects: Sequence[Tensor], *, gamma: float, published: bool) -> Tensor:
    """Return the largest IoU of each place's anchor with the objects whose region holds it, [N, M]; 0 outside.

    Args:
        student: its levels and centres place the anchors.
        objects: of each image, [G, 4] in input pixels.
        gamma: the region begins at this share of the object's threshold, and ends at it.
        published: divide the common area by the anchor's, rather than the union.
    """
    assert student.centres is not None
    strides = [student.boxes.new_full((level.places, 1), level.stride) for level in student.levels]
    half = torch.cat(strides) * _SIDE_STRIDES / 2
    centres = student.centres.to(half).expand(len(objects), -1, -1)
    anchors = torch.cat([centres - half, centres + half], dim=-1)
    counts = [level.places for level in student.levels]
    return torch.stack([_of_image(*pair, counts, gamma, published) for pair in zip(anchors, objects, strict=True)])


def _of_image(anchors: Tensor, boxes: Tensor, counts: Sequence[int], gamma: float, published: bool) -> Tensor:
    if not len(boxes):
        return anchors.new_zeros(len(anchors))
    boxes = boxes.to(anchors)[:, None]
    anchors = anchors[None]
    common, union = overlap_parts(anchors, boxes)
    overlaps = common / union  # [G, M]
    middles = [(one[..., :2] + one[..., 2:]) / 2 for one in (anchors, boxes)]
    apart = ((middles[0] - middles[1]) ** 2).sum(dim=-1)
    limits = _thresholds(overlaps, apart, counts)
    enclosing = torch.maximum(anchors[..., 2:], boxes[..., 2:]) - torch.minimum(anchors[..., :2], boxes[..., :2])
    areas = (anchors[..., 2:] - anchors[..., :2]).prod(dim=-1)
    near = (common / areas if published else overlaps) - apart / (enclosing**2).sum(dim=-1).clamp(min=1e-6)
    inside = (near >= gamma * limits) & (near < limits)
    return (overlaps * inside).amax(dim=0)


def _thresholds(overlaps: Tensor, apart: Tensor, counts: Sequence[int]) -> Tensor:
    """Return ATSS's threshold of each object, [G, 1]: mean and deviation of the overlaps of the nearest anchors."""
    nearest = [
        level.gather(1, near.topk(min(NEAREST, near.shape[1]), dim=1, largest=False).indices)
        for level, near in zip(
            torch.split(overlaps, list(counts), dim=1), torch.split(apart, list(counts), dim=1), strict=True
        )
    ]
    chosen = torch.cat(nearest, dim=1)
    return (chosen.mean(dim=1) + chosen.std(dim=1)).unsqueeze(1)
