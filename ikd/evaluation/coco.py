"""COCO metrics of a detector's boxes, as mmengine asks for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
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

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the predictions of one batch."""
        for sample in data_samples:
            found = sample["pred_instances"]
            boxes = found["bboxes"].detach().cpu().double()
            boxes[:, 2:] -= boxes[:, :2]  # corners -> x, y, width, height
            columns = zip(boxes.tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
            self.results.append((int(sample["img_id"]), list(columns)))  # one entry an image: mmengine counts them

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return bbox_mAP, bbox_AP50, ... of everything processed."""
        category_ids = [entry["id"] for entry in json.loads(self._annotations.read_text())["categories"]]
        detections = [
            {"image_id": image, "bbox": box, "score": score, "category_id": category_ids[label]}
            for image, found in results
            for box, score, label in found
        ]
        return coco_metrics(self._annotations, detections)
