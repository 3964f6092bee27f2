"""Detectors of mmdet's zoo that hold parts of their own, made small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ikd.detectors import detector_config

PANOPTIC = "mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py"
CROWD = "mmdet::crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py"
REFINED = "mmdet::crowddet/crowddet-rcnn_refine_r50_fpn_8xb2-30e_crowdhuman.py"
BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 4, "norm_eval": False, "style": "pytorch"}
WIDTH = 16
SMALL = {
    "backbone": BACKBONE,
    "neck.in_channels": [4, 8, 16, 32],
    "neck.out_channels": WIDTH,
    "rpn_head.in_channels": WIDTH,
    "rpn_head.feat_channels": WIDTH,
    "roi_head.bbox_roi_extractor.out_channels": WIDTH,
    "roi_head.bbox_head.in_channels": WIDTH,
    "roi_head.bbox_head.fc_out_channels": 32,
}
MASKS = {
    "roi_head.mask_roi_extractor.out_channels": WIDTH,
    "roi_head.mask_head.in_channels": WIDTH,
    "roi_head.mask_head.conv_out_channels": WIDTH,
}
"""What a Mask R-CNN has besides."""


def small(name: str, classes: Sequence[str], **overrides: Any) -> Any:
    """Return the config of a small one."""
    own = {**SMALL, **(MASKS if name == PANOPTIC else {}), **overrides}
    return detector_config(name, overrides=own, classes=classes)


def sample(boxes: Sequence[Sequence[float]], ignored: Sequence[Sequence[float]] = (), side: int = 128) -> Any:
    """Return the truth of one square image: objects of class 0, and boxes in which nothing counts."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    size = (side, side)
    meta = {"img_shape": size, "ori_shape": size, "batch_input_shape": size, "pad_shape": size}
    one = DetDataSample(metainfo={**meta, "scale_factor": (1.0, 1.0)})
    for name, found in (("gt_instances", boxes), ("ignored_instances", ignored)):
        labels = torch.zeros(len(found), dtype=torch.long)
        setattr(one, name, InstanceData(bboxes=torch.tensor(found).reshape(-1, 4).float(), labels=labels))
    return one
