"""CrowdDet, which finds two objects of one class in each proposal, in data that are no crowds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ikd.detectors.kinds.first import put_first

ONE_CLASS = frozenset({"MultiInstanceBBoxHead"})
"""Types of box heads that know an object from none, and one class."""
NOBODY = -1
"""The label of a box in which nothing is learned, as mmdet's CrowdHuman data have it."""


def knows_one_class(node: Any) -> bool:
    """Return whether a model config, or a part of it, holds a box head for data of one class alone."""
    if isinstance(node, Mapping):
        return node.get("type") in ONE_CLASS or any(knows_one_class(value) for value in node.values())
    return isinstance(node, (list, tuple)) and any(knows_one_class(value) for value in node)


class Uncrowded(nn.Module):
    """A RoI head for several objects a proposal that takes images of fewer, and boxes that are ignored."""

    def loss(self, x: Any, rpn_results_list: Any, batch_data_samples: list[Any], **kwargs: Any) -> Any:
        """Compute the head's own loss.

        mmdet reads as many boxes for each proposal as the head finds, whatever their number in the image, and learns
        an ignored box as an object unless its label says otherwise.
        """
        parent: Any = super()
        count = int(self.num_instance)  # type: ignore[arg-type]
        return parent.loss(x, rpn_results_list, [_crowded(one, count) for one in batch_data_samples], **kwargs)

    def predict_bbox(self, *args: Any, **kwargs: Any) -> Any:
        """Return the head's own boxes, their labels whole numbers, as those of all others are."""
        parent: Any = super()
        found = parent.predict_bbox(*args, **kwargs)
        for one in found:
            one.labels = one.labels.long()
        return found


class RowByRow(nn.Module):
    """A loss of boxes that keeps their rows where there are none: mmdet's gives one number then."""

    def forward(self, pred: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of each number, [n, 4]."""
        parent: Any = super()
        return parent.forward(pred, target, *args, **kwargs) if len(target) else pred * 0


def learn_without_crowds(detector: Any) -> None:
    """Let a CrowdDet train on images of fewer than two objects; others are left as they are."""
    head: Any = getattr(detector, "roi_head", None)
    boxes: Any = getattr(head, "bbox_head", None)
    if type(boxes).__name__ in ONE_CLASS:
        put_first(Uncrowded, head)
        put_first(RowByRow, boxes.loss_bbox)


def _crowded(sample: Any, count: int) -> Any:
    """Return a sample with at least `count` boxes, those added of one pixel in the corner, and ignored."""
    boxes = sample.gt_instances.bboxes
    ignored = sample.ignored_instances.bboxes if "ignored_instances" in sample else boxes.new_zeros(0, 4)
    added = boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(max(0, count - len(boxes) - len(ignored)), 1)
    aside = torch.cat([ignored, added])
    own = sample.clone()
    labels = sample.gt_instances.labels.new_full((len(aside),), NOBODY)
    own.ignored_instances = InstanceData(bboxes=aside, labels=labels)
    return own
