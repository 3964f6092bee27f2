"""Small detectors of our own, named `ikd::NAME` in a recipe; each is a function that returns a mmdet model config."""

from collections.abc import Callable
from typing import Any

from ikd.detectors.zoo._one_stage import fcos_r18, gfl_r18, retinanet_r18
from ikd.detectors.zoo._two_stage import faster_rcnn_r18

ZOO: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function for function in (faster_rcnn_r18, fcos_r18, gfl_r18, retinanet_r18)
}

__all__ = ["ZOO", "faster_rcnn_r18", "fcos_r18", "gfl_r18", "retinanet_r18"]
