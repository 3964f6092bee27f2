"""Data sets in COCO format: checking, identifying, evaluating, and one that ikd draws itself."""

from ikd.data.check import check_dataset, check_recipe_data, parse_images, said_of_data
from ikd.data.coco import on_disk, read_annotations
from ikd.data.drawn.draw import draw_dataset, drawn_dataset
from ikd.data.files import (
    DataFiles,
    data_of,
    lost,
    part_of,
    places_of,
    told_when_lost,
    trained_on,
    training_annotations,
)
from ikd.data.identity import DataRecord, PartRecord, class_changes, fingerprint, image_digest
from ikd.data.images import image_loader, size_of
from ikd.data.instances import choices_in, chosen_instances, looks_of, said_of_prototypes
from ikd.data.metrics import IouType, coco_evaluation, coco_metrics, matched_across_classes, metrics_of
from ikd.data.network_size import Perturbed, perturbed, rescaled
from ikd.data.reader import CocoIndex, categories, indexed, write_normal
from ikd.data.report import DataProblem, DataReport, SizeRow, SplitReport
from ikd.data.split import DataSplit, parse_shares, split_dataset
from ikd.data.unlabelled.photographs import Photographs
from ikd.data.voc import VocImport, import_voc, parse_parts

__all__ = [
    "CocoIndex",
    "DataFiles",
    "DataProblem",
    "DataRecord",
    "DataReport",
    "DataSplit",
    "IouType",
    "PartRecord",
    "Perturbed",
    "Photographs",
    "SizeRow",
    "SplitReport",
    "VocImport",
    "categories",
    "check_dataset",
    "check_recipe_data",
    "choices_in",
    "chosen_instances",
    "class_changes",
    "coco_evaluation",
    "coco_metrics",
    "data_of",
    "draw_dataset",
    "drawn_dataset",
    "fingerprint",
    "image_digest",
    "image_loader",
    "import_voc",
    "indexed",
    "looks_of",
    "lost",
    "matched_across_classes",
    "metrics_of",
    "on_disk",
    "parse_images",
    "parse_parts",
    "parse_shares",
    "part_of",
    "perturbed",
    "places_of",
    "read_annotations",
    "rescaled",
    "said_of_data",
    "said_of_prototypes",
    "size_of",
    "split_dataset",
    "told_when_lost",
    "trained_on",
    "training_annotations",
    "write_normal",
]
