"""Detectors without anchors, on P3 and above: FCOS, RepPoints."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo.parts import (
    FIRST_LEVEL,
    Channels,
    Levels,
    Towers,
    dense_detector,
    dense_test_cfg,
    focal_loss,
    group_norm,
    iou_assigner,
    strides,
)
from ikd.detectors.zoo.trunk import Backbone, Depth, Trunk


def fcos_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
) -> dict[str, Any]:
    """FCOS for small inputs, on P3 to P7.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the towers.
        tower_convs: 3x3 convolutions, with GroupNorm, before each prediction.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
    """
    head = {
        "type": "FCOSHead",
        "stacked_convs": tower_convs,
        "norm_cfg": group_norm(neck_channels),
        "strides": strides(FIRST_LEVEL, 5),
        # a quarter of COCO's ranges: the inputs are a fifth to a quarter of 800 px
        "regress_ranges": ((-1, 32), (32, 64), (64, 128), (128, 256), (256, 1e8)),
        "center_sampling": True,
        "norm_on_bbox": True,
        "centerness_on_reg": True,
        "loss_cls": focal_loss(),
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    trunk = Trunk(backbone, depth, base_channels, neck_channels)
    return {
        **dense_detector("FCOS", trunk, levels=5, extra="on_output", head=head),
        "test_cfg": dense_test_cfg(0.05, 0.5),
    }


def reppoints_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    levels: Levels = 5,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
    deformable: bool = False,
) -> dict[str, Any]:
    """RepPoints (moment) for small inputs, with GroupNorm in neck and head.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid, of the towers and of the point features.
        tower_convs: 3x3 convolutions, with GroupNorm, before the points.
        levels: pyramid levels from P3 (stride 8) on.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
        deformable: deformable convolutions in the last three backbone stages (depth 50).
    """
    scale = 4  # side of a point's first box in strides, and of the objects its level is given
    head = {
        "type": "RepPointsHead",
        "point_feat_channels": neck_channels,
        "stacked_convs": tower_convs,
        "norm_cfg": group_norm(neck_channels),
        "num_points": 9,
        "gradient_mul": 0.1,
        "point_strides": strides(FIRST_LEVEL, levels),
        "point_base_scale": scale,
        "loss_cls": focal_loss(),
        "loss_bbox_init": {"type": "SmoothL1Loss", "beta": 0.11, "loss_weight": 0.5},
        "loss_bbox_refine": {"type": "SmoothL1Loss", "beta": 0.11, "loss_weight": 1.0},
        "transform_method": "moment",
    }
    trunk = Trunk(backbone, depth, base_channels, neck_channels, deformable)
    untouched = {"allowed_border": -1, "pos_weight": -1, "debug": False}
    return {
        **dense_detector("RepPointsDetector", trunk, levels=levels, extra="on_input", head=head, norm=True),
        "train_cfg": {
            "init": {"assigner": {"type": "PointAssigner", "scale": scale, "pos_num": 1}, **untouched},
            "refine": {"assigner": iou_assigner(), **untouched},
        },
        "test_cfg": dense_test_cfg(0.05, 0.5),
    }
