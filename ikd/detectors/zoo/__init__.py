"""Small detectors of our own, named `ikd::NAME` in a recipe; each is a function that returns a mmdet model config."""

from collections.abc import Callable
from typing import Any

from ikd.detectors.zoo.anchor_free import fcos_r18, reppoints_r18
from ikd.detectors.zoo.one_stage import atss_r18, gfl_r18, retinanet_r18
from ikd.detectors.zoo.transformers import dab_detr_r18, dino_r18
from ikd.detectors.zoo.two_stage import cascade_rcnn_r18, faster_rcnn_r18, mask_rcnn_r18
from ikd.detectors.zoo.yolo import rtmdet, yolox

_FUNCTIONS = (
    atss_r18,
    cascade_rcnn_r18,
    dab_detr_r18,
    dino_r18,
    faster_rcnn_r18,
    fcos_r18,
    gfl_r18,
    mask_rcnn_r18,
    reppoints_r18,
    retinanet_r18,
    rtmdet,
    yolox,
)
ZOO: dict[str, Callable[..., dict[str, Any]]] = {function.__name__: function for function in _FUNCTIONS}

__all__ = [
    "ZOO",
    "atss_r18",
    "cascade_rcnn_r18",
    "dab_detr_r18",
    "dino_r18",
    "faster_rcnn_r18",
    "fcos_r18",
    "gfl_r18",
    "mask_rcnn_r18",
    "reppoints_r18",
    "retinanet_r18",
    "rtmdet",
    "yolox",
]
