"""Which pyramid levels of a detector any object reaches in training, from the sizes of the objects alone.

A level that nothing reaches is trained as background only. Positions are left out: an anchor or a point is taken to lie
where it suits the object best, so that a level is given up only where no object of these sizes could reach it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Reached = list[bool]
"""Whether any object reaches a level, finest level first."""


def reached_levels(detector: nn.Module, sizes: Tensor) -> Reached | None:
    """Tell which levels objects of some sizes reach, by how the detector's heads choose what they learn from.

    A level is reached where an object may become positive on it:

    * anchors and `MaxIoUAssigner` (RetinaNet, RPN): an anchor overlaps it by `pos_iou_thr`, or is the one that overlaps
      it most, by `min_pos_iou`;
    * anchors and `ATSSAssigner` (ATSS, GFL): an anchor overlaps it most, or by the mean and standard deviation of the
      overlaps of all levels;
    * `regress_ranges` (FCOS): its largest distance to a side, seen from a point inside it, may lie in the range;
    * `PointAssigner` (RepPoints): its scale belongs to the level;
    * two stages: the proposals' anchors reach it, or the RoI extractor reads there what has its size.

    Args:
        detector: mmdet detector, as it trains.
        sizes: [n, 2] width and height of the objects in input pixels, above 0.

    Returns:
        One truth a level of the pyramid, which may be more levels than have a convolution; None where a head chooses
        in a way that is not known here.
    """
    if not len(sizes):
        return None
    sizes = torch.unique(sizes.double().cpu(), dim=0)
    heads = [getattr(detector, name) for name in ("rpn_head", "bbox_head") if getattr(detector, name, None) is not None]
    found = [_of_dense_head(head, sizes) for head in heads]
    if getattr(detector, "roi_head", None) is not None:
        found.append(_of_extractors(getattr(detector.roi_head, "bbox_roi_extractor", None), sizes))
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    levels = max(map(len, known))
    return [any(level < len(one) and one[level] for one in known) for level in range(levels)]


def _of_dense_head(head: Any, sizes: Tensor) -> Reached | None:
    """Return the levels of a head; None for one that is not known: a subclass may choose as it likes."""
    rule = _RULES.get(type(head).__name__)
    return None if rule is None else rule(head, sizes)


def _by_anchors(head: Any, sizes: Tensor) -> Reached | None:
    """Return the levels of an anchor head; None for another assigner or anchors of another kind."""
    anchors = getattr(head.prior_generator, "base_anchors", None)
    kind = type(getattr(head, "assigner", None)).__name__
    if anchors is None or kind not in ("MaxIoUAssigner", "ATSSAssigner"):
        return None
    overlaps = torch.stack([_overlaps(sizes, level) for level in anchors], dim=1)  # [n, levels]
    best = overlaps.amax(dim=1, keepdim=True)
    if kind == "ATSSAssigner":
        threshold = overlaps.mean(dim=1, keepdim=True) + overlaps.std(dim=1, keepdim=True, correction=0)
        positive = (overlaps >= threshold) | (overlaps == best)
    else:
        positive = overlaps >= head.assigner.pos_iou_thr
        if head.assigner.match_low_quality:
            positive |= (overlaps == best) & (best >= head.assigner.min_pos_iou)
    return [bool(one) for one in positive.any(dim=0)]


def _overlaps(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Return the largest IoU of each object, [n], with anchors [A, 4] around the same centre."""
    anchors = anchors.double().cpu()
    best = sizes.new_zeros(len(sizes))
    for x1, y1, x2, y2 in anchors.tolist():
        width, height = x2 - x1, y2 - y1
        common = sizes[:, 0].clamp(max=width) * sizes[:, 1].clamp(max=height)
        best = torch.maximum(best, common / (sizes.prod(dim=1) + width * height - common))
    return best


def _by_ranges(head: Any, sizes: Tensor) -> Reached:
    longest = sizes.amax(dim=1)
    reached = []
    for (low, high), stride in zip(head.regress_ranges, _strides(head), strict=True):
        # the largest distance to a side is half the longer side at the centre, and all of it at a border
        nearest, farthest = longest / 2, longest
        if head.center_sampling:
            farthest = torch.minimum(longest, nearest + head.center_sample_radius * stride)
        reached.append(bool(((nearest <= high) & (farthest >= low)).any()))
    return reached


def _by_points(head: Any, sizes: Tensor) -> Reached | None:
    if type(getattr(head, "init_assigner", None)).__name__ != "PointAssigner":
        return None
    own = [int(math.log2(stride)) for stride in head.point_strides]
    level = ((sizes / head.init_assigner.scale).log2().sum(dim=1) / 2).int().clamp(min(own), max(own))
    return [bool((level == one).any()) for one in own]


def _of_extractors(extractors: Any, sizes: Tensor) -> Reached | None:
    """Return the levels that the RoI extractors read objects of these sizes from."""
    stages: list[Any] = list(extractors) if isinstance(extractors, nn.ModuleList) else [extractors]
    if not all(type(one).__name__ == "SingleRoIExtractor" for one in stages):
        return None
    sides = sizes.prod(dim=1).sqrt()
    rois = torch.stack([torch.zeros_like(sides)] * 3 + [sides, sides], dim=1)  # image, x1, y1, x2, y2
    chosen = [(one.map_roi_levels(rois, int(one.num_inputs)), int(one.num_inputs)) for one in stages]
    return [
        any(level < count and bool((levels == level).any()) for levels, count in chosen)
        for level in range(max(count for _, count in chosen))
    ]


def _strides(head: Any) -> Sequence[float]:
    return [float(one[0] if isinstance(one, (list, tuple)) else one) for one in head.strides]


_RULES: Mapping[str, Callable[[Any, Tensor], Reached | None]] = {
    "ATSSHead": _by_anchors,
    "FCOSHead": _by_ranges,
    "GFLHead": _by_anchors,
    "RPNHead": _by_anchors,
    "RepPointsHead": _by_points,
    "RetinaHead": _by_anchors,
    "RetinaSepBNHead": _by_anchors,
}
"""How a head chooses what it learns from, by the name of its class."""
