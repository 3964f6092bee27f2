"""Running a detector over a data set."""

from ikd.ops import install

install()  # before mmdet, which looks for kernels when it is imported

from ikd.evaluation.boxes import bound_boxes, find_boxes  # noqa: E402
from ikd.evaluation.coco import CocoEvaluator, Kind, coco_detections  # noqa: E402
from ikd.evaluation.plain_mmdet import (  # noqa: E402
    evaluate,
    load_detector,
    predictions,
    read_config,
    run,
    val_loader,
)
from ikd.evaluation.reading import equal_sizes, read_ahead  # noqa: E402
from ikd.evaluation.voc import voc_metrics  # noqa: E402

__all__ = [
    "CocoEvaluator",
    "Kind",
    "bound_boxes",
    "coco_detections",
    "equal_sizes",
    "evaluate",
    "find_boxes",
    "load_detector",
    "predictions",
    "read_ahead",
    "read_config",
    "run",
    "val_loader",
    "voc_metrics",
]
