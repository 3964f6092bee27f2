"""Evaluates an export as anybody with mmdet would. Run as a script, by an interpreter that need not have ikd.

Usage: plain_mmdet.py EXPORT ANNOTATIONS IMAGES {compiled|ikd.ops}; prints one JSON object as its last line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any


def evaluate(export: Path, annotations: Path, images: Path) -> dict[str, Any]:
    """Load through mmdet's own API, predict image by image, evaluate with pycocotools."""
    from mmdet.apis import inference_detector, init_detector
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    detector = init_detector(str(export / "student.py"), str(export / "student.pth"), device="cpu")
    truth = COCO(str(annotations))
    category_ids = {category["name"]: category["id"] for category in truth.dataset["categories"]}
    detections = []
    for image in truth.dataset["images"]:
        found = inference_detector(detector, str(images / image["file_name"])).pred_instances
        boxes = found.bboxes.double()
        boxes[:, 2:] -= boxes[:, :2]
        for box, score, label in zip(boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
            category = category_ids[detector.dataset_meta["classes"][label]]
            detections.append({"image_id": image["id"], "category_id": category, "bbox": box, "score": score})
    evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {"bbox_mAP": float(evaluation.stats[0]), "detections": len(detections)}


def main() -> None:
    """Read the arguments, print what was found, and what of ikd this process had."""
    export, annotations, images = map(Path, sys.argv[1:4])
    if sys.argv[4] == "ikd.ops":
        import ikd.ops

        ikd.ops.install()
    elif importlib.util.find_spec("ikd") is not None:
        raise SystemExit("ikd can be imported here, so this proves nothing")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate(export, annotations, images)
        kernels = importlib.import_module("mmcv._ext")
    loaded = sorted(name for name in sys.modules if name.split(".")[0] == "ikd")
    print(json.dumps({**found, "ikd": loaded, "kernels": getattr(kernels, "__file__", None)}))


if __name__ == "__main__":
    main()
