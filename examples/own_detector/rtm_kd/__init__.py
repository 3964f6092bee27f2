"""A small RTMDet for small data sets; ikd knows where its neck is read."""

from __future__ import annotations

from typing import Any

from ikd.detectors import Family


def rtmdet_small(*, width: float = 0.125, channels: int = 32) -> dict[str, Any]:
    """Return a small RTMDet; `student.config: ikd::rtmdet_small`, `arguments: {width: 0.25, channels: 64}`.

    Args:
        width: of the backbone, relative to RTMDet-l.
        channels: of neck and head.
    """
    batch_norm = {"type": "BN"}
    return {
        "type": "RTMDet",
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            "mean": [103.53, 116.28, 123.675],
            "std": [57.375, 57.12, 58.395],
            "pad_size_divisor": 32,
        },
        "backbone": {
            "type": "CSPNeXt",
            "deepen_factor": 0.167,
            "widen_factor": width,
            "norm_cfg": batch_norm,
            "act_cfg": {"type": "SiLU"},
        },
        "neck": {
            "type": "CSPNeXtPAFPN",
            "in_channels": [int(stage * width) for stage in (256, 512, 1024)],
            "out_channels": channels,
            "num_csp_blocks": 1,
            "norm_cfg": batch_norm,
            "act_cfg": {"type": "SiLU"},
        },
        "bbox_head": {
            "type": "RTMDetSepBNHead",
            "num_classes": 80,
            "in_channels": channels,
            "feat_channels": channels,
            "stacked_convs": 2,
            "share_conv": True,
            "exp_on_reg": False,
            "norm_cfg": batch_norm,
            "act_cfg": {"type": "SiLU"},
            "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
            "bbox_coder": {"type": "DistancePointBBoxCoder"},
            "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
            "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        },
        "train_cfg": {
            "assigner": {"type": "DynamicSoftLabelAssigner", "topk": 13},
            "allowed_border": -1,
            "pos_weight": -1,
        },
        "test_cfg": {
            "nms_pre": 1000,
            "min_bbox_size": 0,
            "score_thr": 0.001,
            "nms": {"type": "nms", "iou_threshold": 0.65},
            "max_per_img": 100,
        },
    }


FAMILY = Family(zoo={"rtmdet_small": rtmdet_small})
