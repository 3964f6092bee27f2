"""Detectors that classify anchors, on P3 and above: RetinaNet, GFL, ATSS."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo.parts import (
    FIRST_LEVEL,
    box_coder,
    dense_detector,
    dense_test_cfg,
    focal_loss,
    group_norm,
    iou_assigner,
    strides,
)
from ikd.detectors.zoo.small import Scale, SmallDetector, takes

_UNTOUCHED = {"allowed_border": -1, "pos_weight": -1, "debug": False}


@takes("tower_convs", "levels")
def retinanet_r18(small: SmallDetector, *, anchor_scale: Scale = 4.0) -> dict[str, Any]:
    """Return a RetinaNet for small inputs; the default has 1.05 M parameters.

    Args:
        small: what it is made of.
        anchor_scale: side of the smallest anchor in strides of its level.
    """
    head = {
        "type": "RetinaHead",
        "stacked_convs": small.tower_convs,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "octave_base_scale": anchor_scale,
            "scales_per_octave": 3,
            "ratios": [0.5, 1.0, 2.0],
            "strides": strides(FIRST_LEVEL, small.levels),
        },
        "bbox_coder": box_coder(),
        "loss_cls": focal_loss(),
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    }
    return {
        **dense_detector("RetinaNet", small, head, extra="on_input"),
        "train_cfg": {"assigner": iou_assigner(), "sampler": {"type": "PseudoSampler"}, **_UNTOUCHED},
        "test_cfg": dense_test_cfg(0.05, 0.5),
    }


@takes("tower_convs", "levels")
def gfl_r18(small: SmallDetector, *, anchor_scale: Scale = 8.0) -> dict[str, Any]:
    """Return a GFL for small inputs, with GroupNorm in the towers; learns faster than RetinaNet at the same size.

    Args:
        small: what it is made of.
        anchor_scale: side of the one anchor in strides of its level.
    """
    head = {
        "type": "GFLHead",
        "stacked_convs": small.tower_convs,
        "norm_cfg": group_norm(small.neck_channels),
        "anchor_generator": _one_anchor(anchor_scale, small.levels),
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        "loss_dfl": {"type": "DistributionFocalLoss", "loss_weight": 0.25},
        "reg_max": 16,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
    }
    return _adaptive("GFL", small, head)


@takes("tower_convs", "levels")
def atss_r18(small: SmallDetector, *, anchor_scale: Scale = 8.0) -> dict[str, Any]:
    """Return an ATSS for small inputs, with GroupNorm in the towers; `anchor_scale` is as in `gfl_r18`."""
    head = {
        "type": "ATSSHead",
        "stacked_convs": small.tower_convs,
        "norm_cfg": group_norm(small.neck_channels),
        "anchor_generator": _one_anchor(anchor_scale, small.levels),
        "bbox_coder": box_coder(0.1, 0.1, 0.2, 0.2),
        "loss_cls": focal_loss(),
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    return _adaptive("ATSS", small, head)


def _one_anchor(scale: float, levels: int) -> dict[str, Any]:
    return {
        "type": "AnchorGenerator",
        "ratios": [1.0],
        "octave_base_scale": scale,
        "scales_per_octave": 1,
        "strides": strides(FIRST_LEVEL, levels),
    }


def _adaptive(detector: str, small: SmallDetector, head: dict[str, Any]) -> dict[str, Any]:
    """Return a detector that assigns as ATSS does."""
    return {
        **dense_detector(detector, small, head, extra="on_output"),
        "train_cfg": {"assigner": {"type": "ATSSAssigner", "topk": 9}, **_UNTOUCHED},
        "test_cfg": dense_test_cfg(0.05, 0.6),
    }
