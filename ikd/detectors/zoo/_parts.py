"""Backbone, neck and preprocessor that the small detectors share.

They are for inputs of 128 to 224 px and train from scratch: every BatchNorm learns, no stage is frozen.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from ikd.errors import BadInput

Depth = Literal[18, 34, 50]
_IMAGENET_MEAN = [123.675, 116.28, 103.53]  # RGB, 0..255
_IMAGENET_STD = [58.395, 57.12, 57.375]


def preprocessor() -> dict[str, Any]:
    """Return mmdet's usual normalisation, padding to a multiple of 32 px."""
    return {
        "type": "DetDataPreprocessor",
        "mean": list(_IMAGENET_MEAN),
        "std": list(_IMAGENET_STD),
        "bgr_to_rgb": True,
        "pad_mask": False,
        "pad_size_divisor": 32,
    }


def resnet(depth: Depth, base_channels: int) -> dict[str, Any]:
    """Return a ResNet that trains from scratch; its stages are 1, 2, 4, 8 times `base_channels` (x4 at depth 50)."""
    return {
        "type": "ResNet",
        "depth": depth,
        "num_stages": 4,
        "base_channels": base_channels,
        "out_indices": (0, 1, 2, 3),
        "frozen_stages": -1,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "norm_eval": False,
        "style": "pytorch",
    }


def fpn(
    depth: Depth, base_channels: int, neck_channels: int, *, first_level: int, levels: int, extra: str | bool
) -> dict[str, Any]:
    """Return an FPN over the ResNet's stages from `first_level` (2 or 3) on, with `levels` outputs.

    Raises:
        BadInput: fewer levels than the backbone gives.
    """
    least = 6 - first_level
    if levels < least:
        raise BadInput(f"levels must be at least {least}, the backbone's stages from P{first_level} on; got {levels=}")
    expansion = 4 if depth == 50 else 1
    return {
        "type": "FPN",
        "in_channels": [base_channels * expansion * 2**stage for stage in range(4)],
        "out_channels": neck_channels,
        "start_level": first_level - 2,
        "add_extra_convs": extra,
        "num_outs": levels,
    }


def strides(first_level: int, levels: int) -> list[int]:
    """Return the strides of P`first_level` and the levels above it, in input pixels."""
    return [2 ** (first_level + level) for level in range(levels)]


def group_norm(channels: int) -> dict[str, Any]:
    """Return GroupNorm over 8 channels each, as mmdet's 32 groups of 256; over 4 where 8 do not divide `channels`."""
    # few channels a group would leave P7, one cell, with nothing to normalise over
    return {"type": "GN", "num_groups": channels // math.gcd(channels, 8), "requires_grad": True}


def dense_test_cfg(score_threshold: float, iou_threshold: float) -> dict[str, Any]:
    """Return the test settings of the one-stage heads: at most 300 candidates a level, 100 boxes an image."""
    return {
        "nms_pre": 300,
        "min_bbox_size": 0,
        "score_thr": score_threshold,
        "nms": {"type": "nms", "iou_threshold": iou_threshold},
        "max_per_img": 100,
    }
