"""Semantic branches (HTC, SCNet) in data that say nothing of stuff."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import PixelData
from torch import nn

from ikd.detectors.kinds.first import put_first

IGNORED = 255
"""What a pixel's label is where nothing is known of it (mmdet's `ignore_index` of semantic heads)."""


class Unsegmented(nn.Module):
    """A RoI head whose semantic branch learns nothing from images that come without a map of stuff."""

    def loss(self, x: Any, rpn_results_list: Any, batch_data_samples: list[Any], **kwargs: Any) -> Any:
        """Compute the head's own loss; without a map every pixel is ignored, so that part of the loss is 0."""
        parent: Any = super()
        return parent.loss(x, rpn_results_list, [_with_map(one) for one in batch_data_samples], **kwargs)


def learn_without_maps(detector: Any) -> None:
    """Let a detector with a semantic branch train on boxes and masks alone; others are left as they are.

    COCO's boxes come without maps of stuff, which HTC and SCNet ask for. The branch stays, so that checkpoints fit and
    a trained one goes on giving its features; it is taught by what the boxes send back.
    """
    head: Any = getattr(detector, "roi_head", None)
    if getattr(head, "with_semantic", False):
        put_first(Unsegmented, head)


def _with_map(sample: Any) -> Any:
    if "gt_sem_seg" in sample:
        return sample
    filled = sample.clone()
    height, width = sample.metainfo["batch_input_shape"]
    device = sample.gt_instances.bboxes.device
    filled.gt_sem_seg = PixelData(sem_seg=torch.full((1, height, width), IGNORED, device=device))
    return filled
