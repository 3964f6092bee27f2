"""The detectors of real-time use on CSP backbones, narrow: RTMDet and YOLOX, on P3 to P5.

Depth and width follow mmdet's own: a backbone stage is as wide as that of the whole network times `base_channels` / 64.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ikd.detectors.zoo.parts import preprocessor
from ikd.detectors.zoo.small import Channels, Towers

Depth = Annotated[float, Field(gt=0.0, le=2.0)]
_WIDTH = 64  # of the whole network's first stage
_STRIDES = (8, 16, 32)


def rtmdet(
    *, base_channels: Channels = 8, neck_channels: Channels = 32, tower_convs: Towers = 2, depth_factor: Depth = 0.167
) -> dict[str, Any]:
    """Return an RTMDet for small inputs; the default has 0.5 M parameters.

    Args:
        base_channels: width of the first backbone stage; RTMDet-tiny has 24, -s 32, -m 48, -l 64.
        neck_channels: width of the pyramid and of the towers; four times `base_channels` in the family.
        tower_convs: 3x3 convolutions before each prediction.
        depth_factor: blocks of a stage relative to RTMDet-l; tiny has 0.167, -s 0.33.
    """
    norm, activation = {"type": "BN"}, {"type": "SiLU", "inplace": True}
    shared = {"expand_ratio": 0.5, "norm_cfg": norm, "act_cfg": activation}
    backbone = {
        "type": "CSPNeXt",
        "arch": "P5",
        "channel_attention": True,
        **_size(base_channels, depth_factor),
        **shared,
    }
    neck = {"type": "CSPNeXtPAFPN", **_neck(base_channels, neck_channels), **shared}
    head = {
        "type": "RTMDetSepBNHead",
        "num_classes": 80,
        "in_channels": neck_channels,
        "feat_channels": neck_channels,
        "stacked_convs": tower_convs,
        "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": list(_STRIDES)},
        "bbox_coder": {"type": "DistancePointBBoxCoder"},
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "with_objectness": False,
        "exp_on_reg": False,
        "share_conv": True,
        "pred_kernel_size": 1,
        "norm_cfg": norm,
        "act_cfg": activation,
    }
    assigner = {"type": "DynamicSoftLabelAssigner", "topk": 13}
    return {
        "type": "RTMDet",
        "data_preprocessor": preprocessor(),
        "backbone": backbone,
        "neck": neck,
        "bbox_head": head,
        "train_cfg": {"assigner": assigner, "allowed_border": -1, "pos_weight": -1, "debug": False},
        "test_cfg": {
            "nms_pre": 1000,
            "min_bbox_size": 0,
            "score_thr": 0.01,
            "nms": {"type": "nms", "iou_threshold": 0.65},
            "max_per_img": 100,
        },
    }


def yolox(
    *, base_channels: Channels = 8, neck_channels: Channels = 32, tower_convs: Towers = 2, depth_factor: Depth = 0.33
) -> dict[str, Any]:
    """Return a YOLOX for small inputs; the default has 0.6 M parameters.

    Args:
        base_channels: width of the first backbone stage; YOLOX-tiny has 24, -s 32, -m 48, -l 64.
        neck_channels: width of the pyramid and of the towers; four times `base_channels` in the family.
        tower_convs: 3x3 convolutions before each prediction.
        depth_factor: blocks of a stage relative to YOLOX-l; tiny and -s have 0.33.
    """
    # as published, but for the momentum of its norms, whose 0.03 follows too slowly in a few hundred steps
    norm, activation = {"type": "BN", "eps": 0.001}, {"type": "Swish"}
    shared = {"norm_cfg": norm, "act_cfg": activation}
    scores = {"type": "CrossEntropyLoss", "use_sigmoid": True, "reduction": "sum", "loss_weight": 1.0}
    head = {
        "type": "YOLOXHead",
        "num_classes": 80,
        "in_channels": neck_channels,
        "feat_channels": neck_channels,
        "stacked_convs": tower_convs,
        "strides": _STRIDES,
        "loss_cls": scores,
        "loss_bbox": {"type": "IoULoss", "mode": "square", "eps": 1e-16, "reduction": "sum", "loss_weight": 5.0},
        "loss_obj": dict(scores),
        "loss_l1": {"type": "L1Loss", "reduction": "sum", "loss_weight": 1.0},
        **shared,
    }
    return {
        "type": "YOLOX",
        "data_preprocessor": preprocessor(),
        "backbone": {"type": "CSPDarknet", "out_indices": (2, 3, 4), **_size(base_channels, depth_factor), **shared},
        "neck": {"type": "YOLOXPAFPN", **_neck(base_channels, neck_channels), **shared},
        "bbox_head": head,
        "train_cfg": {"assigner": {"type": "SimOTAAssigner", "center_radius": 2.5}},
        "test_cfg": {"score_thr": 0.01, "nms": {"type": "nms", "iou_threshold": 0.65}, "max_per_img": 100},
    }


def _size(base_channels: int, depth_factor: float) -> dict[str, Any]:
    return {"widen_factor": base_channels / _WIDTH, "deepen_factor": depth_factor}


def _neck(base_channels: int, neck_channels: int) -> dict[str, Any]:
    return {
        "in_channels": [base_channels * factor for factor in (4, 8, 16)],
        "out_channels": neck_channels,
        "num_csp_blocks": 1,
    }
