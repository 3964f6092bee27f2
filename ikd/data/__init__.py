"""Data sets in COCO format: checking, identifying, evaluating, and one that ikd draws itself."""

from ikd.data.check import check_dataset, check_recipe_data, parse_images
from ikd.data.coco import categories, read_annotations
from ikd.data.draw import draw_dataset, drawn_dataset
from ikd.data.files import TRAINED_ON, DataFiles, data_of, part_of, training_annotations
from ikd.data.identity import fingerprint, image_digest
from ikd.data.metrics import IouType, coco_metrics
from ikd.data.network_size import Perturbed, perturbed
from ikd.data.record import DataRecord, PartRecord, class_changes
from ikd.data.report import DataProblem, DataReport, SizeRow, SplitReport

__all__ = [
    "TRAINED_ON",
    "DataFiles",
    "DataProblem",
    "DataRecord",
    "DataReport",
    "IouType",
    "PartRecord",
    "Perturbed",
    "SizeRow",
    "SplitReport",
    "categories",
    "check_dataset",
    "check_recipe_data",
    "class_changes",
    "coco_metrics",
    "data_of",
    "draw_dataset",
    "drawn_dataset",
    "fingerprint",
    "image_digest",
    "parse_images",
    "part_of",
    "perturbed",
    "read_annotations",
    "training_annotations",
]
