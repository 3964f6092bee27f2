"""Data sets in COCO format: checking, identifying, evaluating, and one that ikd draws itself."""

from ikd.data.check import check_dataset, check_recipe_data, parse_images, said_of_data
from ikd.data.coco import on_disk, read_annotations
from ikd.data.draw import draw_dataset, drawn_dataset
from ikd.data.files import DataFiles, part_of, places_of, trained_on, training_annotations
from ikd.data.identity import fingerprint
from ikd.data.images import image_loader
from ikd.data.metrics import IouType, coco_metrics
from ikd.data.network_size import Perturbed, perturbed
from ikd.data.reader import CocoIndex, categories, indexed, write_normal
from ikd.data.report import DataProblem, DataReport, SizeRow, SplitReport

__all__ = [
    "CocoIndex",
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
    "fingerprint",
    "image_loader",
    "indexed",
    "on_disk",
    "parse_images",
    "part_of",
    "perturbed",
    "places_of",
    "read_annotations",
    "said_of_data",
    "trained_on",
    "training_annotations",
    "write_normal",
]
