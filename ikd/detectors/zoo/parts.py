"""Neck, preprocessor and settings that the small detectors share.

They are for inputs of 128 to 224 px and train from scratch: every norm learns, no stage is frozen.
"""

from __future__ import annotations

import math
from typing import Any

from ikd.detectors.zoo.small import SmallDetector
from ikd.errors import BadInput

_IMAGENET_MEAN = [123.675, 116.28, 103.53]  # RGB, 0..255
_IMAGENET_STD = [58.395, 57.12, 57.375]


def preprocessor(*, masks: bool = False) -> dict[str, Any]:
    """Return mmdet's usual normalisation, padding images (and `masks`) to a multiple of 32 px."""
    return {
        "type": "DetDataPreprocessor",
        "mean": list(_IMAGENET_MEAN),
        "std": list(_IMAGENET_STD),
        "bgr_to_rgb": True,
        "pad_mask": masks,
        "pad_size_divisor": 32,
    }


def body(
    small: SmallDetector, *, first_level: int, levels: int, extra: str | bool, norm: bool = False
) -> dict[str, Any]:
    """Return backbone and FPN, with `levels` outputs from P`first_level` (2 or 3) on.

    Args:
        small: what it is made of.
        first_level: 2 or 3, the finest level.
        levels: number of outputs.
        extra: where mmdet's FPN takes the levels above P5 from; False pools them.
        norm: GroupNorm after each convolution of the neck.

    Raises:
        BadInput: fewer levels than the backbone gives.
    """
    least = 6 - first_level
    if levels < least:
        raise BadInput(f"levels must be at least {least}, the backbone's stages from P{first_level} on; got {levels=}")
    neck = {
        "type": "FPN",
        "in_channels": small.channels(first_level),
        "out_channels": small.neck_channels,
        "add_extra_convs": extra,
        "num_outs": levels,
    }
    if norm:
        neck["norm_cfg"] = group_norm(small.neck_channels)
    return {"backbone": small.backbone_config(first_level), "neck": neck}


def strides(first_level: int, levels: int) -> list[int]:
    """Return the strides of P`first_level` and the levels above it, in input pixels."""
    return [2 ** (first_level + level) for level in range(levels)]


def group_norm(channels: int) -> dict[str, Any]:
    """Return GroupNorm over 8 channels each, as mmdet's 32 groups of 256; over 4 where 8 do not divide `channels`."""
    # few channels a group would leave P7, one cell, with nothing to normalise over
    return {"type": "GN", "num_groups": channels // math.gcd(channels, 8), "requires_grad": True}


def box_coder(*stds: float) -> dict[str, Any]:
    """Return the coder of box offsets; `stds` of (x, y, w, h), 1 each by default."""
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": list(stds) or [1.0] * 4}


def focal_loss() -> dict[str, Any]:
    """Return the classification loss of the dense heads."""
    return {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}


def iou_assigner() -> dict[str, Any]:
    """Return RetinaNet's assignment by overlap."""
    thresholds = {"pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0, "ignore_iof_thr": -1}
    return {"type": "MaxIoUAssigner", **thresholds}


def dense_test_cfg(score_threshold: float, iou_threshold: float) -> dict[str, Any]:
    """Return the test settings of the one-stage heads: at most 300 candidates a level, 100 boxes an image."""
    return {
        "nms_pre": 300,
        "min_bbox_size": 0,
        "score_thr": score_threshold,
        "nms": {"type": "nms", "iou_threshold": iou_threshold},
        "max_per_img": 100,
    }


FIRST_LEVEL = 3


def dense_detector(
    detector: str, small: SmallDetector, head: dict[str, Any], *, extra: str, norm: bool = False
) -> dict[str, Any]:
    """Return a detector of class `detector` with this head on P3 and above, and `extra` and `norm` as in `body`."""
    neck = small.neck_channels
    return {
        "type": detector,
        "data_preprocessor": preprocessor(),
        **body(small, first_level=FIRST_LEVEL, levels=small.levels, extra=extra, norm=norm),
        "bbox_head": {"num_classes": 80, "in_channels": neck, "feat_channels": neck, **head},
    }
