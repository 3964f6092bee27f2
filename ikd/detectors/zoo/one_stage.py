"""Detectors that classify anchors, on P3 and above: RetinaNet, GFL, ATSS."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo.parts import (
    FIRST_LEVEL,
    Channels,
    Levels,
    Scale,
    Towers,
    box_coder,
    dense_detector,
    dense_test_cfg,
    focal_loss,
    group_norm,
    iou_assigner,
    strides,
)
from ikd.detectors.zoo.trunk import Backbone, Depth, Trunk

_UNTOUCHED = {"allowed_border": -1, "pos_weight": -1, "debug": False}


def retinanet_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    levels: Levels = 5,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
    anchor_scale: Scale = 4.0,
) -> dict[str, Any]:
    """RetinaNet for small inputs; the default has 1.05 M parameters.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the towers.
        tower_convs: 3x3 convolutions before each prediction.
        levels: pyramid levels from P3 (stride 8) on.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
        anchor_scale: side of the smallest anchor in strides of its level.
    """
    head = {
        "type": "RetinaHead",
        "stacked_convs": tower_convs,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "octave_base_scale": anchor_scale,
            "scales_per_octave": 3,
            "ratios": [0.5, 1.0, 2.0],
            "strides": strides(FIRST_LEVEL, levels),
        },
        "bbox_coder": box_coder(),
        "loss_cls": focal_loss(),
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    }
    trunk = Trunk(backbone, depth, base_channels, neck_channels)
    return {
        **dense_detector("RetinaNet", trunk, levels=levels, extra="on_input", head=head),
        "train_cfg": {"assigner": iou_assigner(), "sampler": {"type": "PseudoSampler"}, **_UNTOUCHED},
        "test_cfg": dense_test_cfg(0.05, 0.5),
    }


def gfl_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    levels: Levels = 5,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
    anchor_scale: Scale = 8.0,
) -> dict[str, Any]:
    """GFL for small inputs; learns faster than RetinaNet at the same size.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the towers.
        tower_convs: 3x3 convolutions, with GroupNorm, before each prediction.
        levels: pyramid levels from P3 (stride 8) on.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
        anchor_scale: side of the one anchor in strides of its level.
    """
    head = {
        "type": "GFLHead",
        "stacked_convs": tower_convs,
        "norm_cfg": group_norm(neck_channels),
        "anchor_generator": _one_anchor(anchor_scale, levels),
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        "loss_dfl": {"type": "DistributionFocalLoss", "loss_weight": 0.25},
        "reg_max": 16,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
    }
    return _adaptive("GFL", Trunk(backbone, depth, base_channels, neck_channels), levels, head)


def atss_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    levels: Levels = 5,
    depth: Depth = 18,
    backbone: Backbone = "resnet",
    anchor_scale: Scale = 8.0,
) -> dict[str, Any]:
    """ATSS for small inputs.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the towers.
        tower_convs: 3x3 convolutions, with GroupNorm, before each prediction.
        levels: pyramid levels from P3 (stride 8) on.
        depth: 18, 34 or 50 layers (see `Trunk` for other backbones).
        backbone: resnet, resnext (depth 50) or swin.
        anchor_scale: side of the one anchor in strides of its level.
    """
    head = {
        "type": "ATSSHead",
        "stacked_convs": tower_convs,
        "norm_cfg": group_norm(neck_channels),
        "anchor_generator": _one_anchor(anchor_scale, levels),
        "bbox_coder": box_coder(0.1, 0.1, 0.2, 0.2),
        "loss_cls": focal_loss(),
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    return _adaptive("ATSS", Trunk(backbone, depth, base_channels, neck_channels), levels, head)


def _one_anchor(scale: float, levels: int) -> dict[str, Any]:
    return {
        "type": "AnchorGenerator",
        "ratios": [1.0],
        "octave_base_scale": scale,
        "scales_per_octave": 1,
        "strides": strides(FIRST_LEVEL, levels),
    }


def _adaptive(detector: str, trunk: Trunk, levels: int, head: dict[str, Any]) -> dict[str, Any]:
    """Return a detector that assigns as ATSS does."""
    return {
        **dense_detector(detector, trunk, levels=levels, extra="on_output", head=head),
        "train_cfg": {"assigner": {"type": "ATSSAssigner", "topk": 9}, **_UNTOUCHED},
        "test_cfg": dense_test_cfg(0.05, 0.6),
    }
