"""PanopticFPN, which is a Mask R-CNN beside a branch of stuff, as the detector of boxes and masks that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import ConfigDict
from torch import Tensor

PANOPTIC = frozenset({"PanopticFPN", "TwoStagePanopticSegmentor"})
"""Mask R-CNNs beside whose heads a branch of stuff reads the same maps, and whose prediction is of both fused."""
BRANCH = "semantic_head."
"""How the names of the weights of the branch of stuff begin."""
_OF_MAPS = ("semantic_head", "panoptic_fusion_head")
_LEAST_SCORE = 0.05
"""Least score of a box in mmdet's Mask R-CNN."""


def parts_of_maps(model: Mapping[str, Any]) -> list[str]:
    """Return the parts of a model config that only a panoptic map needs, which no box or mask reads."""
    return [part for part in _OF_MAPS if part in model] if model["type"] in PANOPTIC else []


def predict_instances(model: ConfigDict) -> None:
    """Make of a panoptic detector the Mask R-CNN that it holds, in place; others are left as they are.

    Data without maps of stuff teach its branch nothing, and neither box nor mask reads that. A fused map gives each
    pixel to one object, so that its boxes begin at a score of 0.6 and suppress one another whatever their class; as
    Mask R-CNN's they begin at 0.05, and suppress those of their class.
    """
    if model["type"] not in PANOPTIC:
        return
    for part in parts_of_maps(model):
        del model[part]
    model["type"] = "MaskRCNN"
    settings = _part(model, "test_cfg")
    settings.pop("panoptic", None)
    of_boxes = _part(settings, "rcnn")
    if isinstance(least := of_boxes.get("score_thr"), int | float):
        of_boxes["score_thr"] = min(least, _LEAST_SCORE)
    _part(of_boxes, "nms").pop("class_agnostic", None)


def _part(node: Any, key: str) -> Any:
    """Return the mapping under a key; an empty one where there is none, of which mmdet will say what it wants."""
    found = node.get(key)
    return found if isinstance(found, dict) else {}


def without_stuff(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights without those of a panoptic detector's branch, for a detector that has none.

    Args:
        weights: of a checkpoint.
        own: of the detector that they go into.
    """
    return weights if _of_stuff(own) else {key: one for key, one in weights.items() if not key.startswith(BRANCH)}


def things(classes: tuple[str, ...] | None, weights: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    """Return those of a checkpoint's classes that its boxes have: a panoptic detector's file names stuff after them."""
    rows = weights.get("roi_head.bbox_head.fc_cls.weight")  # one of them is of the background
    return classes if classes is None or rows is None or not _of_stuff(weights) else classes[: len(rows) - 1]


def _of_stuff(weights: Mapping[str, Tensor]) -> bool:
    return any(key.startswith(BRANCH) for key in weights)
