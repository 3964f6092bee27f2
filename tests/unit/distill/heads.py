"""Tiny detectors with the four heads of CrossKD, and a batch for them."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor

from ikd.config import LOSSES
from ikd.detectors import build_detector, detector_config, freeze

Boxes = list[list[list[float]]]

FAMILIES = ("RetinaHead", "FCOSHead", "GFLHead", "ATSSHead")
KINDS = (*FAMILIES, "FasterRCNN")
"""Detectors of one stage by their head, and one of two stages."""
SIDE = 96
BOXES: Boxes = [[[10.0, 12, 60, 70], [40, 40, 56, 60]], [[0.0, 0, 90, 95]]]


def tiny(family: str, seed: int = 0, **changes: Any) -> Any:
    """Build a detector with two tower convolutions and head weights large enough for varied predictions."""
    changes = {"neck_channels": 32, "tower_convs": 2} | changes
    classes = [str(index) for index in range(changes.pop("num_classes", 3))]
    overrides = changes.pop("overrides", {})
    torch.manual_seed(seed)
    if family == "ATSSHead":
        width = changes["neck_channels"]
        overrides = {
            "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": False},
            "neck.in_channels": [8, 16, 32, 64],
            "neck.out_channels": width,
            "bbox_head.in_channels": width,
            "bbox_head.feat_channels": width,
            "bbox_head.stacked_convs": changes["tower_convs"],
            "bbox_head.norm_cfg": {"type": "GN", "num_groups": 4, "requires_grad": True},
            **overrides,
        }
        config = detector_config("mmdet::atss/atss_r50_fpn_1x_coco.py", overrides=overrides, classes=classes)
    else:
        name = {"RetinaHead": "retinanet_r18", "FCOSHead": "fcos_r18", "GFLHead": "gfl_r18"}[family]
        levels = {} if family == "FCOSHead" else {"levels": 3}
        arguments = {"base_channels": 8, **levels, **changes}
        config = detector_config(f"ikd::{name}", arguments=arguments, overrides=overrides, classes=classes)
    detector: Any = build_detector(config)
    for parameter in detector.bbox_head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.08)
    return detector


def two_stages(name: str = "faster_rcnn_r18", seed: int = 0, **changes: Any) -> Any:
    """Build a detector with a region head whose weights are large enough for varied scores."""
    classes = [str(index) for index in range(changes.pop("num_classes", 3))]
    overrides = changes.pop("overrides", {})
    arguments = {"base_channels": 8, "neck_channels": 16, **changes}
    torch.manual_seed(seed)
    config = detector_config(f"ikd::{name}", arguments=arguments, overrides=overrides, classes=classes)
    detector: Any = build_detector(config)
    heads = detector.roi_head.bbox_head
    for head in (detector.rpn_head, *(heads if isinstance(heads, torch.nn.ModuleList) else [heads])):
        for parameter in head.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.08)
    return detector


@functools.cache
def built(family: str, seed: int) -> Any:
    return two_stages(seed=seed) if family == "FasterRCNN" else tiny(family, seed)


def pair(family: str) -> tuple[Any, Any]:
    """Return a student in training mode and another, frozen detector of the same family."""
    return copy.deepcopy(built(family, 1)).train(), freeze(copy.deepcopy(built(family, 2)))


def twins(family: str) -> tuple[Any, Any]:
    """Return a student and a teacher of equal weights, both normalising by running statistics."""
    student, teacher = pair(family)
    student.load_state_dict(teacher.state_dict())
    return student.eval(), teacher


def batch(boxes: Boxes) -> tuple[Tensor, list[Any]]:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for rows in boxes:
        labels = torch.arange(len(rows)) % 3
        shape = (SIDE, SIDE)
        sample = DetDataSample(metainfo={"img_shape": shape, "pad_shape": shape, "batch_input_shape": shape})
        sample.gt_instances = InstanceData(bboxes=torch.tensor(rows).reshape(-1, 4), labels=labels)
        samples.append(sample)
    images = torch.randn(len(boxes), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return images, samples


def hyperparameters(**changes: Any) -> dict[str, Any]:
    """Return what `CrossHeads` is built with: the recipe's, at a position that the small towers have."""
    return LOSSES["crosskd"](**{"position": 1, **changes}).model_dump(exclude={"roi"})


def losses_of(between: Any, student: Any, teacher: Any, boxes: Boxes = BOXES) -> dict[str, Any]:
    """Return what a comparison of two heads makes of one loss of the student."""
    images, samples = batch(boxes)
    with between.capture() as seen:
        student.loss(images, samples)
    with torch.no_grad():
        features = teacher.extract_feat(images)
    found: dict[str, Any] = between.losses(seen, features)
    return found
