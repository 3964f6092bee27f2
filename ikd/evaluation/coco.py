"""COCO and VOC metrics of a detector's boxes and masks, as mmengine asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.evaluator import BaseMetric
from pycocotools import mask as run_lengths

from ikd.data import coco_metrics, indexed
from ikd.evaluation.voc import voc_metrics

Kind = Literal["bbox", "segm", "voc"]
"""COCO's metrics of boxes or of masks, or VOC's of boxes."""


class CocoEvaluator(BaseMetric):
    """COCO metrics by pycocotools, and VOC's by mmdet's functions, unrounded, under ikd's names.

    Args:
        annotations: COCO json of the evaluated part.
        kinds: what is measured.
        parts: folder in which several processes bring their predictions together.
    """

    default_prefix = ""  # None has mmengine warn that there is none, in every process once

    def __init__(self, annotations: Path, kinds: Sequence[Kind], parts: Path | None = None) -> None:
        super().__init__(collect_dir=str(parts) if parts else None)
        self._annotations, self._kinds = annotations, kinds

    @cached_property
    def _category_ids(self) -> list[int]:
        return indexed(self._annotations).category_ids

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the predictions of one batch."""
        for sample in data_samples:  # one entry an image: mmengine counts them
            found = coco_detections(int(sample["img_id"]), sample["pred_instances"], self._category_ids)
            if "segm" in self._kinds:
                for one, mask in zip(found, sample["pred_instances"]["masks"].cpu().numpy(), strict=True):
                    one["segmentation"] = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))
            self.results.append(found)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return bbox_mAP, bbox_AP50, ..., segm_ and voc_ where asked for, of everything processed."""
        detections = [one for found in results for one in found]
        metrics: dict[str, float] = {}
        for kind in self._kinds:
            if kind == "voc":
                metrics |= voc_metrics(indexed(self._annotations), detections)
            else:
                metrics |= coco_metrics(self._annotations, detections, kind)
        return metrics


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
