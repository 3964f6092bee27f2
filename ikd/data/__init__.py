"""Data sets in COCO format: checking, identifying, evaluating, and one that ikd draws itself."""

from ikd.data._check import check_dataset
from ikd.data._coco import categories, read_annotations
from ikd.data._draw import draw_dataset, drawn_dataset
from ikd.data._fingerprint import fingerprint
from ikd.data._metrics import coco_metrics
from ikd.data._report import DataProblem, DataReport, SizeRow, SplitReport

__all__ = [
    "DataProblem",
    "DataReport",
    "SizeRow",
    "SplitReport",
    "categories",
    "check_dataset",
    "coco_metrics",
    "draw_dataset",
    "drawn_dataset",
    "fingerprint",
    "read_annotations",
]
