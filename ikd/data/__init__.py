"""Data sets in COCO format: checking, identifying, evaluating, and one that ikd draws itself."""

from ikd.data.check import check_dataset, check_recipe_data, parse_images
from ikd.data.coco import categories, read_annotations
from ikd.data.draw import draw_dataset, drawn_dataset, drawn_folder
from ikd.data.files import TRAINED_ON, DataFiles, part_of
from ikd.data.identity import fingerprint
from ikd.data.metrics import IouType, coco_metrics
from ikd.data.network_size import Perturbed, perturbed
from ikd.data.report import DataProblem, DataReport, SizeRow, SplitReport

__all__ = [
    "TRAINED_ON",
    "DataFiles",
    "DataProblem",
    "DataReport",
    "IouType",
    "Perturbed",
    "SizeRow",
    "SplitReport",
    "categories",
    "check_dataset",
    "check_recipe_data",
    "coco_metrics",
    "draw_dataset",
    "drawn_dataset",
    "drawn_folder",
    "fingerprint",
    "parse_images",
    "part_of",
    "perturbed",
    "read_annotations",
]
