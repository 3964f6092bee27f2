"""Semantic branches (HTC, SCNet, PanopticFPN) in data that say nothing of stuff."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from torch import Tensor, nn

IGNORED = 255
"""What a pixel's label is where nothing is known of it (mmdet's `ignore_index` of semantic heads)."""


class Unsegmented(nn.Module):
    """A RoI head whose semantic branch learns nothing from images that come without a map of stuff."""

    def loss(self, x: Any, rpn_results_list: Any, batch_data_samples: list[Any], **kwargs: Any) -> Any:
        """Compute the head's own loss; without a map every pixel is ignored, so that part of the loss is 0."""
        parent: Any = super()
        return parent.loss(x, rpn_results_list, [_with_map(one) for one in batch_data_samples], **kwargs)


def learn_without_maps(detector: Any) -> None:
    """Let a detector with a semantic branch train on boxes and masks alone; others are left as they are.

    COCO's boxes come without maps of stuff, which HTC and SCNet ask for. The branch stays, so that checkpoints fit and
    a trained one goes on giving its features; it is taught by what the boxes send back.
    """
    head: Any = getattr(detector, "roi_head", None)
    if getattr(head, "with_semantic", False):
        put_first(Unsegmented, head)


PANOPTIC = frozenset({"PanopticFPN", "TwoStagePanopticSegmentor"})
"""Mask R-CNNs beside whose heads a branch of stuff reads the same maps, and whose prediction is of both fused."""
BRANCH = "semantic_head"
"""The branch of stuff, and how its weights are called."""
_OF_MAPS = (BRANCH, "panoptic_fusion_head")
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
    of_boxes = (model.get("test_cfg") or {}).get("rcnn") or {}
    if of_boxes.get("score_thr", 0) > _LEAST_SCORE:
        of_boxes["score_thr"] = _LEAST_SCORE
    (of_boxes.get("nms") or {}).pop("class_agnostic", None)
    (model.get("test_cfg") or {}).pop("panoptic", None)


def without_stuff(weights: Mapping[str, Tensor], detector: nn.Module) -> Mapping[str, Tensor]:
    """Return weights without those of a panoptic detector's branch, for a detector that has none."""
    if hasattr(detector, BRANCH) or not _of_stuff(weights):
        return weights
    kept = OrderedDict((key, value) for key, value in weights.items() if not key.startswith(f"{BRANCH}."))
    kept._metadata = getattr(weights, "_metadata", {})  # type: ignore[attr-defined]  # the versions of its modules
    return kept


def things(classes: tuple[str, ...] | None, weights: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    """Return those of a checkpoint's classes that its boxes have: a panoptic detector's file names stuff after them."""
    rows = weights.get("roi_head.bbox_head.fc_cls.weight")  # one of them is of the background
    return classes if classes is None or rows is None or not _of_stuff(weights) else classes[: len(rows) - 1]


def _of_stuff(weights: Mapping[str, Tensor]) -> bool:
    return any(key.startswith(f"{BRANCH}.") for key in weights)


def put_first(methods: Any, module: Any) -> None:
    """Let a module's methods be looked for in a class of ours before its own, whose name it keeps."""
    kind: Any = type(module)
    module.__class__ = _mixed(methods, kind)


@functools.cache
def _mixed(methods: Any, of: Any) -> Any:
    return type(of.__name__, (methods, of), {"__module__": of.__module__})


def _with_map(sample: Any) -> Any:
    if "gt_sem_seg" in sample:
        return sample
    filled = sample.clone()
    height, width = sample.metainfo["batch_input_shape"]
    device = sample.gt_instances.bboxes.device
    filled.gt_sem_seg = PixelData(sem_seg=torch.full((1, height, width), IGNORED, device=device))
    return filled
