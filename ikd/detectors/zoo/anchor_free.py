"""Detectors without anchors, on P3 and above: FCOS, RepPoints."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo.parts import (
    FIRST_LEVEL,
    dense_detector,
    dense_test_cfg,
    focal_loss,
    group_norm,
    iou_assigner,
    strides,
)
from ikd.detectors.zoo.small import SmallDetector, takes


@takes("tower_convs")
def fcos_r18(small: SmallDetector) -> dict[str, Any]:
    """Return a FCOS for small inputs, on P3 to P7, with GroupNorm in the towers."""
    head = {
        "type": "FCOSHead",
        "stacked_convs": small.tower_convs,
        "norm_cfg": group_norm(small.neck_channels),
        "strides": strides(FIRST_LEVEL, small.levels),
        # a quarter of COCO's ranges: the inputs are a fifth to a quarter of 800 px
        "regress_ranges": ((-1, 32), (32, 64), (64, 128), (128, 256), (256, 1e8)),
        "center_sampling": True,
        "norm_on_bbox": True,
        "centerness_on_reg": True,
        "loss_cls": focal_loss(),
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    return {
        **dense_detector("FCOS", small, head, extra="on_output"),
        "test_cfg": dense_test_cfg(0.05, 0.5),
    }


@takes("tower_convs", "levels", "deformable")
def reppoints_r18(small: SmallDetector) -> dict[str, Any]:
    """Return a RepPoints (moment) for small inputs, with GroupNorm in neck and head."""
    scale = 4  # side of a point's first box in strides, and of the objects its level is given
    head = {
        "type": "RepPointsHead",
        "point_feat_channels": small.neck_channels,
        "stacked_convs": small.tower_convs,
        "norm_cfg": group_norm(small.neck_channels),
        "num_points": 9,
        "gradient_mul": 0.1,
        "point_strides": strides(FIRST_LEVEL, small.levels),
        "point_base_scale": scale,
        "loss_cls": focal_loss(),
        "loss_bbox_init": {"type": "SmoothL1Loss", "beta": 0.11, "loss_weight": 0.5},
        "loss_bbox_refine": {"type": "SmoothL1Loss", "beta": 0.11, "loss_weight": 1.0},
        "transform_method": "moment",
    }
    untouched = {"allowed_border": -1, "pos_weight": -1, "debug": False}
    return {
        **dense_detector("RepPointsDetector", small, head, extra="on_input", norm=True),
        "train_cfg": {
            "init": {"assigner": {"type": "PointAssigner", "scale": scale, "pos_num": 1}, **untouched},
            "refine": {"assigner": iou_assigner(), **untouched},
        },
        "test_cfg": dense_test_cfg(0.05, 0.5),
    }
