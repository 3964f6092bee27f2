"""PASCAL VOC's average precision, matched and averaged by mmdet's own functions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.evaluation.functional.mean_ap import average_precision, tpfp_default
from numpy.typing import NDArray

from ikd.data import CocoIndex

IOU = 0.5
MODES = {"voc_AP50": "area", "voc_AP50_07": "11points"}
"""Metric, and how precision is averaged over recall: below the curve (VOC since 2010), at 0, 0.1, ..., 1 (before)."""

Boxes = NDArray[np.float64]


def voc_metrics(index: CocoIndex, detections: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Evaluate detections as the PASCAL VOC challenge does (Everingham et al., IJCV 2010, 4.2).

    A detection is matched with the truth of its class that it overlaps most. It is a hit where that is by 0.5 or more
    and nothing surer has hit it. Truths that are set aside, VOC's difficult objects, need not be found, and detections
    matched with one count nothing. Boxes reach from edge to edge, so that overlaps are VOC's, whose corners are pixels.

    Args:
        index: of the ground truth.
        detections: `image_id`, `category_id`, `score` and `bbox` (x, y, width, height in pixels of the original image).

    Returns:
        `voc_AP50` and `voc_AP50_07`, means over the classes that have objects: range 0..1; NaN where none has.
    """
    found, truths = _by_class(index, detections), _truths(index)
    aps: dict[str, list[float]] = {name: [] for name in MODES}
    for label, category in enumerate(index.category_ids):
        objects = int((~index.set_aside[np.asarray(index.labels) == label]).sum())
        if not objects:
            continue
        recall, precision = _curve(found[category], truths[label], objects)
        for name, mode in MODES.items():
            aps[name].append(float(average_precision(recall, precision, mode)))
    return {name: float(np.mean(values)) if values else math.nan for name, values in aps.items()}


def _by_class(index: CocoIndex, detections: Sequence[Mapping[str, Any]]) -> dict[int, dict[int, Boxes]]:
    """Return corners and score [n, 5] by category and place of the image."""
    places = {identity: place for place, identity in enumerate(index.ids.tolist())}
    rows: dict[tuple[int, int], list[tuple[float, ...]]] = defaultdict(list)
    for one in detections:
        left, top, width, height = one["bbox"]
        corners = (left, top, left + width, top + height, one["score"])
        rows[one["category_id"], places[one["image_id"]]].append(corners)
    found: dict[int, dict[int, Boxes]] = defaultdict(dict)
    for (category, place), own in rows.items():
        found[category][place] = np.array(own, np.float64)
    return found


def _truths(index: CocoIndex) -> list[dict[int, tuple[Boxes, Boxes]]]:
    """Return corners [n, 4] by label and place of the image: of the objects, and of what is set aside."""
    boxes = np.array(index.boxes)
    boxes[:, 2:] += boxes[:, :2]
    labels, found = np.asarray(index.labels), []
    for label in range(len(index.classes)):
        own = np.flatnonzero(labels == label)
        images = index.owners[own]
        cuts = np.flatnonzero(np.diff(images)) + 1
        parts = [part for part in np.split(own, cuts) if len(part)]
        aside = index.set_aside
        found.append(
            {int(index.owners[part[0]]): (boxes[part[~aside[part]]], boxes[part[aside[part]]]) for part in parts}
        )
    return found


def _curve(
    found: Mapping[int, Boxes], truths: Mapping[int, tuple[Boxes, Boxes]], objects: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision [n] of a class, the surest detection first."""
    none = np.zeros((0, 4)), np.zeros((0, 4))
    judged = [
        (*tpfp_default(boxes, *truths.get(place, none), iou_thr=IOU), boxes[:, 4])
        for place, boxes in sorted(found.items())
    ]
    if not judged:
        return np.zeros(0), np.zeros(0)
    hits, false, scores = (np.concatenate([np.ravel(one[part]) for one in judged]) for part in range(3))
    order = np.argsort(-scores, kind="stable")
    hits, false = np.cumsum(hits[order], dtype=np.float64), np.cumsum(false[order], dtype=np.float64)
    return hits / objects, hits / np.maximum(hits + false, np.finfo(np.float64).eps)
