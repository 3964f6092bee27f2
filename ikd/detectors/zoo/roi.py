"""What the two-stage detectors have in common: proposals, RoI heads, and how they are trained and tested."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo.parts import body, box_coder, preprocessor, strides
from ikd.detectors.zoo.small import SmallDetector

_CROSS_ENTROPY = {"type": "CrossEntropyLoss", "loss_weight": 1.0}
_L1 = {"type": "L1Loss", "loss_weight": 1.0}
_NMS = {"nms_pre": 500, "max_per_img": 200, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}
_MASK_PX = 28
_MASK_CONVS = 2


def two_stage_detector(
    detector: str,
    small: SmallDetector,
    roi_head: dict[str, Any],
    *,
    rcnn: dict[str, Any] | list[dict[str, Any]],
    anchor_scale: float = 4.0,
) -> dict[str, Any]:
    """Return a detector of class `detector` on P2 to P5 (and a pooled P6).

    Args:
        detector: class of mmdet.
        small: what it is made of.
        roi_head: its RoI head.
        rcnn: training settings of the RoI head, from `stage`.
        anchor_scale: side of the anchor in strides of its level.
    """
    proposals = stage(0.7, 0.3, {"num": 128, "pos_fraction": 0.5, "add_gt_as_proposals": False}, low_quality=True)
    masks = "mask_head" in roi_head
    rcnn_test = {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100}
    return {
        "type": detector,
        "data_preprocessor": preprocessor(masks=masks),
        **body(small, first_level=2, levels=5, extra=False),
        "rpn_head": _rpn(small.neck_channels, anchor_scale),
        "roi_head": roi_head,
        "train_cfg": {"rpn": {**proposals, "allowed_border": -1}, "rpn_proposal": dict(_NMS), "rcnn": rcnn},
        "test_cfg": {"rpn": dict(_NMS), "rcnn": {**rcnn_test, **({"mask_thr_binary": 0.5} if masks else {})}},
    }


def stage(
    positive: float, negative: float, sampler: dict[str, Any], *, low_quality: bool, masks: bool = False
) -> dict[str, Any]:
    """Return how proposals are assigned (overlaps from which on they are object or background) and sampled."""
    assigner = {"type": "MaxIoUAssigner", "pos_iou_thr": positive, "neg_iou_thr": negative, "ignore_iof_thr": -1}
    return {
        "assigner": {**assigner, "min_pos_iou": negative, "match_low_quality": low_quality},
        "sampler": {"type": "RandomSampler", "neg_pos_ub": -1, **sampler},
        "pos_weight": -1,
        "debug": False,
        **({"mask_size": _MASK_PX} if masks else {}),
    }


def rcnn_stage(overlap: float, *, low_quality: bool = False, masks: bool = False) -> dict[str, Any]:
    """Return the training settings of one RoI head."""
    sampler = {"num": 128, "pos_fraction": 0.25, "add_gt_as_proposals": True}
    return stage(overlap, overlap, sampler, low_quality=low_quality, masks=masks)


def box_head(small: SmallDetector, stds: tuple[float, ...], *, class_agnostic: bool = False) -> dict[str, Any]:
    """Return a box head of two fully connected layers; `stds` scale its box offsets."""
    return {
        "type": "Shared2FCBBoxHead",
        "in_channels": small.neck_channels,
        "fc_out_channels": small.head_units,
        "roi_feat_size": 7,
        "num_classes": 80,
        "bbox_coder": box_coder(*stds),
        "reg_class_agnostic": class_agnostic,
        "loss_cls": {**_CROSS_ENTROPY, "use_sigmoid": False},
        "loss_bbox": dict(_L1),
    }


def mask_branch(channels: int) -> dict[str, Any]:
    """Return mask head and its RoI extractor, to be merged into a RoI head."""
    return {
        "mask_roi_extractor": roi_extractor(channels, _MASK_PX // 2),
        "mask_head": {
            "type": "FCNMaskHead",
            "num_convs": _MASK_CONVS,
            "in_channels": channels,
            "conv_out_channels": channels,
            "num_classes": 80,
            "loss_mask": {**_CROSS_ENTROPY, "use_mask": True},
        },
    }


def roi_extractor(channels: int, size: int) -> dict[str, Any]:
    """Return the extractor of `size` x `size` cells from P2 to P5."""
    return {
        "type": "SingleRoIExtractor",
        "roi_layer": {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0},
        "out_channels": channels,
        "featmap_strides": strides(2, 4),
    }


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
        "bbox_coder": box_coder(),
        "loss_cls": {**_CROSS_ENTROPY, "use_sigmoid": True},
        "loss_bbox": dict(_L1),
    }
