"""COCO average precision, by pycocotools, without its printing and rounding."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ikd.data.coco import read_annotations
from ikd.data.reader import CocoIndex, indexed
from ikd.errors import DataError

# position in COCOeval.stats; 8 is AR over areas at maxDets = 100, and those after it are of one size each
_POSITIONS = {"mAP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5, "AR": 8, "ARs": 9, "ARm": 10, "ARl": 11}
IouType = Literal["bbox", "segm"]
"""What overlaps: boxes, or masks."""


class Evaluation(COCOeval):
    """pycocotools' evaluation, with boxes of `ignore` ignored: they need not be found, and finding one counts nothing.

    pycocotools sets that flag anew from `iscrowd`, and counts what a file says to ignore as missed. As with any truth
    but a crowd, one detection is matched with an ignored one, by IoU, and only where no other truth fits.
    """

    def _prepare(self) -> None:
        ignored = {one["id"] for one in self.cocoGt.dataset["annotations"] if one.get("ignore")}
        super()._prepare()
        for truths in self._gts.values():
            for one in truths:
                one["ignore"] = int(bool(one["ignore"]) or one["id"] in ignored)


def coco_metrics(
    ground_truth: str | Path | COCO | Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    iou_type: IouType = "bbox",
) -> dict[str, float]:
    """Evaluate detections as the COCO challenge does.

    Args:
        ground_truth: COCO json file, its parsed content, or a pycocotools COCO. Not changed, except for a COCO, which
            pycocotools annotates.
        detections: `image_id`, `category_id`, `score` and `bbox` (x, y, width, height in pixels of the original image)
            or `segmentation` (run-length encoded). May be empty.
        iou_type: overlap of boxes or of masks.

    Returns:
        `<iou_type>_` + mAP (IoU 0.50 to 0.95), AP50, AP75, APs, APm, APl, AR (100 detections an image), ARs, ARm, ARl,
        and `AP/<class>` of each class (IoU 0.50 to 0.95, all sizes): range 0..1, unrounded; NaN where the ground truth
        has no such object.

    Raises:
        DataError: a detection of an image that the ground truth does not have.
    """
    return metrics_of(coco_evaluation(ground_truth, detections, iou_type))


def coco_evaluation(
    ground_truth: str | Path | COCO | Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    iou_type: IouType = "bbox",
) -> COCOeval:
    """Evaluate detections; return all that pycocotools has found: matches image by image, and curves.

    Args:
        ground_truth: as `coco_metrics`. From a file, annotation `id` is 1 + its place in the columns of `indexed`.
        detections: as there.
        iou_type: as there.

    Returns:
        Evaluated, accumulated and summarised.

    Raises:
        DataError: as there.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth if isinstance(ground_truth, COCO) else _index(ground_truth, iou_type)
        evaluation = Evaluation(truth, _results(truth, detections, iou_type), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def matched_across_classes(
    ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], iou: float
) -> list[dict[str, Any]]:
    """Match boxes whatever their classes are: each detection, the surest first, with the truth it overlaps most.

    Args:
        ground_truth: parsed content of a COCO file.
        detections: as `coco_metrics`.
        iou: least overlap, 0..1.

    Returns:
        What pycocotools says of each image that has a box: `gtIds`, `dtIds`, `gtMatches` and `dtMatches` [1, n] (the
        other's id, 0 for none), `gtIgnore` [n] and `dtIgnore` [1, n]. Ids of truths are 1, 2, ... in their order.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _index(ground_truth, "bbox")
        evaluation = Evaluation(truth, _results(truth, detections, "bbox"), "bbox")
        evaluation.params.useCats, evaluation.params.iouThrs = 0, np.array([iou])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.params.maxDets = [max(1, len(detections))]
        evaluation.evaluate()
    return [one for one in evaluation.evalImgs if one is not None]


def metrics_of(evaluation: COCOeval) -> dict[str, float]:
    """Return the figures of an evaluation, see `coco_metrics`."""
    values = {name: float(evaluation.stats[position]) for name, position in _POSITIONS.items()}
    values |= {f"AP/{name}": value for name, value in _by_class(evaluation, evaluation.cocoGt).items()}
    kind = evaluation.params.iouType
    return {f"{kind}_{name}": value if value >= 0 else math.nan for name, value in values.items()}


def _by_class(evaluation: COCOeval, truth: COCO) -> dict[str, float]:
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class], all sizes, most detections
    found = {}
    for place, category in enumerate(evaluation.params.catIds):
        known = precision[:, :, place]
        found[truth.cats[category]["name"]] = float(known.mean()) if (known > -1).all() else -1.0
    return found


def _index(source: str | Path | Mapping[str, Any], iou_type: str) -> COCO:
    if not isinstance(source, Mapping):
        index = indexed(Path(source))
        return _coco(_boxes(index) if iou_type == "bbox" else read_annotations(index.normal))
    content = copy.deepcopy(dict(source))
    for number, annotation in enumerate(content["annotations"], start=1):
        annotation["id"] = number  # COCOeval takes the id of the match for its truth, so id 0 would count as missed
        annotation.setdefault("iscrowd", 0)  # this and the area are optional in the wild, and pycocotools needs them
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    return _coco(content)


def _boxes(index: CocoIndex) -> dict[str, Any]:
    """Return the ground truth without its masks, which are most of a file and read anew for each validation."""
    ids = index.category_ids
    columns = (index.ids[index.owners], index.labels, index.boxes, index.areas, index.crowds, index.ignored)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    annotations = [
        {"id": number, "image_id": image, "category_id": ids[label], "bbox": box, "area": area}
        | {"iscrowd": int(crowd), "ignore": int(ignored)}
        for number, (image, label, box, area, crowd, ignored) in enumerate(rows, start=1)
    ]
    return {
        "images": [{"id": one} for one in index.ids.tolist()],
        "categories": index.categories,
        "annotations": annotations,
    }


def _coco(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def _results(truth: COCO, detections: Sequence[Mapping[str, Any]], iou_type: str) -> COCO:
    if not detections:  # loadRes looks at the first detection
        return _coco({"images": truth.dataset["images"], "categories": truth.dataset["categories"], "annotations": []})
    unknown = sorted({detection["image_id"] for detection in detections} - set(truth.imgs))
    if unknown:
        raise DataError(f"detections: image_id must be one of the ground truth's, but got {unknown[:5]}")
    # loadRes writes into what it is given, and with a box present it would take the box's area for the mask's
    unused = "bbox" if iou_type == "segm" else "segmentation"
    return truth.loadRes([{key: item[key] for key in item if key != unused} for item in detections])
