"""One-stage detectors on P3 and above: RetinaNet, GFL, FCOS."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ikd.detectors.zoo._parts import Depth, dense_test_cfg, fpn, group_norm, preprocessor, resnet, strides

Channels = Annotated[int, Field(ge=4, multiple_of=4)]
Towers = Annotated[int, Field(ge=0, le=8)]
Levels = Annotated[int, Field(ge=3, le=6)]
Scale = Annotated[float, Field(gt=0, le=32)]
_FIRST = 3


def _frame(detector: str, extra: str, parts: dict[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    """Return a one-stage detector of `parts` (depth, base_channels, neck_channels, levels) with this head."""
    depth, base, neck, levels = (parts[name] for name in ("depth", "base_channels", "neck_channels", "levels"))
    return {
        "type": detector,
        "data_preprocessor": preprocessor(),
        "backbone": resnet(depth, base),
        "neck": fpn(depth, base, neck, first_level=_FIRST, levels=levels, extra=extra),
        "bbox_head": {"num_classes": 80, "in_channels": neck, "feat_channels": neck, **head},
    }


def retinanet_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    levels: Levels = 5,
    depth: Depth = 18,
    anchor_scale: Scale = 4.0,
) -> dict[str, Any]:
    """RetinaNet for small inputs; the default has 1.05 M parameters.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the towers.
        tower_convs: 3x3 convolutions before each prediction.
        levels: pyramid levels from P3 (stride 8) on.
        depth: 18, 34 or 50 layers.
        anchor_scale: side of the smallest anchor in strides of its level.
    """
    parts = {"depth": depth, "base_channels": base_channels, "neck_channels": neck_channels, "levels": levels}
    head = {
        "type": "RetinaHead",
        "stacked_convs": tower_convs,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "octave_base_scale": anchor_scale,
            "scales_per_octave": 3,
            "ratios": [0.5, 1.0, 2.0],
            "strides": strides(_FIRST, levels),
        },
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": [1.0] * 4},
        "loss_cls": {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0},
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    }
    thresholds = {"pos_iou_thr": 0.5, "neg_iou_thr": 0.4, "min_pos_iou": 0, "ignore_iof_thr": -1}
    return {
        **_frame("RetinaNet", "on_input", parts, head),
        "train_cfg": {
            "assigner": {"type": "MaxIoUAssigner", **thresholds},
            "sampler": {"type": "PseudoSampler"},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": dense_test_cfg(0.05, 0.5),
    }


def gfl_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    levels: Levels = 5,
    depth: Depth = 18,
    anchor_scale: Scale = 8.0,
) -> dict[str, Any]:
    """GFL for small inputs; learns faster than RetinaNet at the same size.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the towers.
        tower_convs: 3x3 convolutions, with GroupNorm, before each prediction.
        levels: pyramid levels from P3 (stride 8) on.
        depth: 18, 34 or 50 layers.
        anchor_scale: side of the one anchor in strides of its level.
    """
    parts = {"depth": depth, "base_channels": base_channels, "neck_channels": neck_channels, "levels": levels}
    head = {
        "type": "GFLHead",
        "stacked_convs": tower_convs,
        "norm_cfg": group_norm(neck_channels),
        "anchor_generator": {
            "type": "AnchorGenerator",
            "ratios": [1.0],
            "octave_base_scale": anchor_scale,
            "scales_per_octave": 1,
            "strides": strides(_FIRST, levels),
        },
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        "loss_dfl": {"type": "DistributionFocalLoss", "loss_weight": 0.25},
        "reg_max": 16,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
    }
    return {
        **_frame("GFL", "on_output", parts, head),
        "train_cfg": {
            "assigner": {"type": "ATSSAssigner", "topk": 9},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": dense_test_cfg(0.05, 0.6),
    }


def fcos_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    tower_convs: Towers = 1,
    depth: Depth = 18,
) -> dict[str, Any]:
    """FCOS for small inputs, on P3 to P7.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid and of the towers.
        tower_convs: 3x3 convolutions, with GroupNorm, before each prediction.
        depth: 18, 34 or 50 layers.
    """
    parts = {"depth": depth, "base_channels": base_channels, "neck_channels": neck_channels, "levels": 5}
    head = {
        "type": "FCOSHead",
        "stacked_convs": tower_convs,
        "norm_cfg": group_norm(neck_channels),
        "strides": strides(_FIRST, 5),
        # a quarter of COCO's ranges: the inputs are a fifth to a quarter of 800 px
        "regress_ranges": ((-1, 32), (32, 64), (64, 128), (128, 256), (256, 1e8)),
        "center_sampling": True,
        "norm_on_bbox": True,
        "centerness_on_reg": True,
        "loss_cls": {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0},
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    return {**_frame("FCOS", "on_output", parts, head), "test_cfg": dense_test_cfg(0.05, 0.5)}
