"""Families of mmdet's zoo, made small by overrides, and what ikd makes of each as student and as attacked teacher."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": False, "style": "pytorch"}
WIDTHS = [8, 16, 32, 64]


def small(**changes: Any) -> dict[str, Any]:
    """Overrides for a ResNet-18 of an eighth of its width below an FPN of all four stages."""
    own = {name.replace("__", "."): value for name, value in changes.items()}
    return {"backbone": BACKBONE, "neck.in_channels": WIDTHS, **own}


def few_levels(**changes: Any) -> dict[str, Any]:
    """Overrides for a transformer on three stages."""
    backbone = {**BACKBONE, "out_indices": [1, 2, 3]}
    layers = {"encoder.num_layers": 1, "decoder.num_layers": 2, "data_preprocessor.pad_size_divisor": 32}
    return small(backbone=backbone, neck__in_channels=WIDTHS[1:], **changes) | layers


@dataclass(frozen=True)
class Zoo:
    """A config of mmdet's zoo.

    Attributes:
        config: its name.
        overrides: what makes it small.
        refused: pattern of the sentence that refuses it as student; empty where it trains a step and predicts.
        attack: losses that can be attacked; `cls` missing from it must be refused with the way out.
        recipe: fields of the recipe that it needs.
    """

    config: str
    overrides: dict[str, Any] = field(default_factory=small)
    refused: str = ""
    attack: tuple[str, ...] = ("cls", "cls+reg")
    recipe: dict[str, Any] = field(default_factory=dict)


ZOO = {
    "retinanet": Zoo("retinanet/retinanet_r50_fpn_1x_coco.py"),
    "vfnet": Zoo("vfnet/vfnet_r50_fpn_1x_coco.py"),
    "tood": Zoo("tood/tood_r50_fpn_1x_coco.py"),
    "yolact": Zoo("yolact/yolact_r50_1xb8-55e_coco.py", recipe={"input.keep_ratio": False}),
    "yolact of uneven images": Zoo(
        "yolact/yolact_r50_1xb8-55e_coco.py", refused=r"student: .* make a training step .* input\.keep_ratio: false"
    ),
    "fcos normbbox": Zoo("fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py"),
    "centernet-update": Zoo("centernet/centernet-update_r18_fpn_8xb8-amp-lsj-200e_coco.py"),
    "autoassign": Zoo("autoassign/autoassign_r50-caffe_fpn_1x_coco.py", attack=("cls+reg",)),
    "freeanchor": Zoo("free_anchor/freeanchor_r50_fpn_1x_coco.py", attack=("cls+reg",)),
    "sabl": Zoo("sabl/sabl-retinanet_r50_fpn_1x_coco.py"),
    "ga-retinanet": Zoo("guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py"),
    "faster": Zoo("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
    "mask": Zoo("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    "panoptic-fpn": Zoo("panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py"),
    "crowddet": Zoo(
        "crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py",
        refused=r"detector: num_classes: must be 1 for a CrowdDet, .* but got 4; take data of one class",
        attack=(),
    ),
    "yolox": Zoo("yolox/yolox_tiny_8xb8-300e_coco.py", {}),
    "yolov3": Zoo("yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py", {}),
    "efficientnet": Zoo(
        "efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py",
        {"backbone.arch": "b0", "neck.in_channels": [40, 112, 320], "backbone.norm_cfg": {"type": "BN"}},
    ),
    "pvt": Zoo("pvt/retinanet_pvt-t_fpn_1x_coco.py", {}),
    "convnext": Zoo(
        "convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py",
        {},
        refused=r"needs the package mmpretrain, which is not installed; install it, or take a Swin or ResNet backbone",
        attack=(),
    ),
    "soft teacher": Zoo(
        "soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py",
        {},
        refused=r"SoftTeacher wraps another detector; name that one instead",
        attack=(),
    ),
    "detectron2": Zoo(
        "misc/d2_retinanet_r50-caffe_fpn_ms-90k_coco.py",
        {},
        refused=r"Detectron2Wrapper wraps another detector; name that one instead",
        attack=(),
    ),
    "dyhead": Zoo(
        "dyhead/atss_r50_fpn_dyhead_1x_coco.py", {"backbone": BACKBONE, "neck.0.in_channels": WIDTHS}, attack=()
    ),
    "dino with too many queries": Zoo(
        "dino/dino-4scale_r50_8xb2-12e_coco.py",
        few_levels(),
        refused=r"student: .* selected index k out of range.* lower num_queries",
        attack=(),
    ),
    "ssd300": Zoo(
        "ssd/ssd300_coco.py",
        {},
        recipe={"input.scale": [288, 288], "input.keep_ratio": False, "schedule.batch_size": 2},
    ),
    "ssd300 too small": Zoo("ssd/ssd300_coco.py", {}, refused=r"student: .* input\.keep_ratio: false", attack=()),
    "centernet": Zoo(
        "centernet/centernet_r18_8xb16-crop512-140e_coco.py", {"backbone": BACKBONE, "neck.in_channels": 64}
    ),
    "deformable-detr": Zoo("deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", few_levels()),
    "deformable-detr two-stage": Zoo(
        "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py", few_levels(num_queries=50)
    ),
    "dino": Zoo(
        "dino/dino-4scale_r50_8xb2-12e_coco.py",
        few_levels(num_queries=100, dn_cfg__group_cfg__num_dn_queries=10, test_cfg__max_per_img=100),
    ),
    "ddq": Zoo(
        "ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py",
        few_levels(num_queries=100, dn_cfg__group_cfg__num_dn_queries=10, dense_topk_ratio=0.5),
    ),
}
