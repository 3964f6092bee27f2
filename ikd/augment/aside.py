"""Scored boxes of a sample that are no labels of it: no transform sees them, and they follow the image at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.structures import InstanceData
from torch import from_numpy

SCORED = "scored_boxes"
"""Key of a sample: [n, 6] float32, corners in pixels of the image as it was loaded, score, class."""
CONTENT = "content_shape"
"""Key of what padding leaves of a sample: (height, width) of the image within it, px."""
LEAST_SIDE_PX = 1e-2


def followed(results: Mapping[str, Any]) -> InstanceData:
    """Return the scored boxes of a sample where its resizes, flips and crops have brought them.

    Args:
        results: with the `homography_matrix` that mmdet's transforms note.

    Returns:
        `bboxes` [n, 4] within the image, `scores` [n] and `labels` [n]; boxes that were cut away are left out.
    """
    rows = results[SCORED]
    moved = results.get("homography_matrix")
    corners = rows[:, :4].astype(np.float64).reshape(-1, 2)
    if moved is not None:  # flips turn left and right around
        corners = corners @ moved[:2, :2].T + moved[:2, 2]
    pairs = np.sort(corners.reshape(-1, 2, 2), axis=1)
    height, width = results.get(CONTENT, results["img_shape"])[:2]
    boxes = pairs.clip(0, (width, height)).reshape(-1, 4)
    there = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= LEAST_SIDE_PX
    kept = rows[there]
    return InstanceData(
        bboxes=from_numpy(boxes[there].astype(np.float32)),
        scores=from_numpy(kept[:, 4].astype(np.float32)),
        labels=from_numpy(kept[:, 5].astype(np.int64)),
    )
