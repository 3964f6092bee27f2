"""Two-stage detector on P2 to P5 (and a pooled P6): Faster R-CNN."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ikd.detectors.zoo._parts import Depth, fpn, preprocessor, resnet, strides

Channels = Annotated[int, Field(ge=4, multiple_of=4)]
Units = Annotated[int, Field(ge=8)]
Scale = Annotated[float, Field(gt=0, le=32)]
_CROSS_ENTROPY = {"type": "CrossEntropyLoss", "loss_weight": 1.0}
_L1 = {"type": "L1Loss", "loss_weight": 1.0}
_NMS = {"nms_pre": 500, "max_per_img": 200, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}


def _rpn(channels: int, anchor_scale: float) -> dict[str, Any]:
    return {
        "type": "RPNHead",
        "in_channels": channels,
        "feat_channels": channels,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "scales": [anchor_scale],
            "ratios": [0.5, 1.0, 2.0],
            "strides": strides(2, 5),
        },
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": [1.0] * 4},
        "loss_cls": {**_CROSS_ENTROPY, "use_sigmoid": True},
        "loss_bbox": dict(_L1),
    }


def _roi(channels: int, units: int) -> dict[str, Any]:
    return {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0},
            "out_channels": channels,
            "featmap_strides": strides(2, 4),
        },
        "bbox_head": {
            "type": "Shared2FCBBoxHead",
            "in_channels": channels,
            "fc_out_channels": units,
            "roi_feat_size": 7,
            "num_classes": 80,
            "bbox_coder": {
                "type": "DeltaXYWHBBoxCoder",
                "target_means": [0.0] * 4,
                "target_stds": [0.1, 0.1, 0.2, 0.2],
            },
            "reg_class_agnostic": False,
            "loss_cls": {**_CROSS_ENTROPY, "use_sigmoid": False},
            "loss_bbox": dict(_L1),
        },
    }


def _stage(positive: float, negative: float, sampler: dict[str, Any], **more: Any) -> dict[str, Any]:
    assigner = {"type": "MaxIoUAssigner", "pos_iou_thr": positive, "neg_iou_thr": negative, "ignore_iof_thr": -1}
    return {
        "assigner": {**assigner, "min_pos_iou": negative, **more},
        "sampler": {"type": "RandomSampler", "neg_pos_ub": -1, **sampler},
        "pos_weight": -1,
        "debug": False,
    }


def faster_rcnn_r18(
    *,
    base_channels: Channels = 16,
    neck_channels: Channels = 64,
    head_units: Units = 128,
    depth: Depth = 18,
    anchor_scale: Scale = 4.0,
) -> dict[str, Any]:
    """Faster R-CNN for small inputs.

    Args:
        base_channels: width of the first backbone stage.
        neck_channels: width of the pyramid.
        head_units: width of the two fully connected layers of the box head.
        depth: 18, 34 or 50 layers.
        anchor_scale: side of the anchor in strides of its level.
    """
    rpn = _stage(0.7, 0.3, {"num": 128, "pos_fraction": 0.5, "add_gt_as_proposals": False}, match_low_quality=True)
    rcnn = _stage(0.5, 0.5, {"num": 128, "pos_fraction": 0.25, "add_gt_as_proposals": True}, match_low_quality=False)
    return {
        "type": "FasterRCNN",
        "data_preprocessor": preprocessor(),
        "backbone": resnet(depth, base_channels),
        "neck": fpn(depth, base_channels, neck_channels, first_level=2, levels=5, extra=False),
        "rpn_head": _rpn(neck_channels, anchor_scale),
        "roi_head": _roi(neck_channels, head_units),
        "train_cfg": {"rpn": {**rpn, "allowed_border": -1}, "rpn_proposal": dict(_NMS), "rcnn": rcnn},
        "test_cfg": {
            "rpn": dict(_NMS),
            "rcnn": {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
        },
    }
