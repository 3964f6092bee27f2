"""COCO metrics of a detector's boxes, as mmengine asks for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric

from ikd.data import coco_metrics


class CocoEvaluator(BaseMetric):
    """COCO metrics of boxes by pycocotools, unrounded, under ikd's names.

    Args:
        annotations: COCO json of the evaluated part.
        parts: folder in which several processes bring their predictions together.
    """

    default_prefix = None

    def __init__(self, annotations: Path, parts: Path | None = None) -> None:
        super().__init__(collect_dir=str(parts) if parts else None)
        self._annotations = annotations

    @cached_property
    def _category_ids(self) -> list[int]:
        return [entry["id"] for entry in json.loads(self._annotations.read_text())["categories"]]

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the predictions of one batch."""
        for sample in data_samples:  # one entry an image: mmengine counts them
            found = sample["pred_instances"]
            self.results.append(coco_detections(int(sample["img_id"]), found, self._category_ids))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return bbox_mAP, bbox_AP50, ... of everything processed."""
        return coco_metrics(self._annotations, [one for found in results for one in found])


def coco_detections(image_id: int, found: Any, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return what a detector found in an image as COCO says it.

    Args:
        image_id: of the annotations.
        found: `bboxes` [N, 4], corners in pixels of the original image; `scores` and `labels` [N].
        category_ids: by label.
    """
    boxes = found["bboxes"].detach().cpu().double()
    boxes[:, 2:] -= boxes[:, :2]  # corners -> x, y, width, height
    columns = zip(boxes.tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
    return [
        {"image_id": image_id, "bbox": box, "score": score, "category_id": category_ids[label]}
        for box, score, label in columns
    ]
