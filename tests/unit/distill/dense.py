"""A small detector for each dense head that losses between heads can read."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch

from ikd.detectors import build_detector, detector_config
from tests.unit.distill.heads import FAMILIES, tiny

_RESNET = {
    "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": False, "init_cfg": None},
    "neck.in_channels": [8, 16, 32, 64],
    "neck.out_channels": 32,
    "bbox_head.in_channels": 32,
    "bbox_head.feat_channels": 32,
}
_WIDE = {
    "backbone.widen_factor": 0.125,
    "neck.in_channels": [32, 64, 128],
    "neck.out_channels": 32,
    "bbox_head.in_channels": 32,
    "bbox_head.feat_channels": 32,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "DDODHead": ("ddod/ddod_r50_fpn_1x_coco.py", _RESNET),
    "PAAHead": ("paa/paa_r50_fpn_1x_coco.py", _RESNET),
    "TOODHead": ("tood/tood_r50_fpn_1x_coco.py", _RESNET),
    "VFNetHead": ("vfnet/vfnet_r50_fpn_1x_coco.py", _RESNET),
    "RTMDetSepBNHead": ("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", _WIDE | {"backbone.init_cfg": None}),
    "RTMDetHead": (
        "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        {key: value for key, value in _WIDE.items() if not key.startswith("bbox_head")}
        | {
            "backbone.init_cfg": None,
            "bbox_head": {
                "type": "RTMDetHead",
                "in_channels": 32,
                "feat_channels": 32,
                "stacked_convs": 1,
                "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
                "bbox_coder": {"type": "DistancePointBBoxCoder"},
                "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
                "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
                "num_classes": 3,
                "with_objectness": False,
            },
        },
    ),
    "YOLOXHead": ("yolox/yolox_tiny_8xb8-300e_coco.py", _WIDE),
}
HEADS = (*FAMILIES, *CONFIGS)


_WIDTHS = ("neck.out_channels", "bbox_head.in_channels", "bbox_head.feat_channels")


@functools.cache
def _built(head: str, seed: int, width: int) -> Any:
    if head in FAMILIES:
        return tiny(head, seed, neck_channels=width)
    config, overrides = CONFIGS[head]
    if head == "RTMDetHead":
        wide = {"bbox_head": overrides["bbox_head"] | {"in_channels": width, "feat_channels": width}}
        overrides = overrides | wide | {"neck.out_channels": width}
    else:
        overrides = overrides | dict.fromkeys(_WIDTHS, width)
    torch.manual_seed(seed)
    detector: Any = build_detector(detector_config(f"mmdet::{config}", overrides=overrides, classes=["0", "1", "2"]))
    return settled(detector)


def settled(detector: Any) -> Any:
    """Give an untrained detector weights and running statistics by which its predictions vary."""
    norms = [one for one in detector.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)]
    before = [one.momentum for one in norms]
    for parameter in detector.bbox_head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    for one in norms:
        one.momentum = None  # the mean of all batches
    with torch.no_grad():
        detector.train()
        detector.bbox_head(detector.extract_feat(torch.randn(4, 3, 96, 96)))
    for one, momentum in zip(norms, before, strict=True):
        one.momentum = momentum
    return detector


def detector_of(head: str, seed: int = 1, width: int = 32) -> Any:
    """Return a detector of three classes, whose neck and towers have `width` channels, a multiple of 32."""
    return copy.deepcopy(_built(head, seed, width))
