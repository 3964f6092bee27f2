"""Checking a whole data set: both annotation files, all images, and how they fit together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ikd.config import Recipe
from ikd.data import identity as _fingerprint
from ikd.data.coco import malformed
from ikd.data.files import DataFiles
from ikd.data.images import check_images
from ikd.data.report import DataProblem, DataReport, SizeRow, SplitReport
from ikd.data.rules import Findings, check_annotations, sound_entries
from ikd.errors import DataError

SMALL_PX2, LARGE_PX2 = 32**2, 96**2  # COCO's borders between small, medium and large


def parse_images(text: str) -> str | tuple[str, str]:
    """Return the image folders of both splits as written on the command line: one for both, or `TRAIN,VAL`."""
    train, comma, val = text.partition(",")
    return (train, val) if comma else text


def check_dataset(
    directory: str | Path, train: str = "train.json", val: str = "val.json", images: str | tuple[str, str] = "images"
) -> DataReport:
    """Look for everything in a data set that would stop or quietly spoil a training.

    Every image is decoded. Nothing is written.

    Args:
        directory: the data set's folder.
        train: COCO json file of the training split, relative to the folder.
        val: the same for validation.
        images: folder that the file names are relative to, itself relative to the data set's folder; two of them when
            training and validation have their own.

    Returns:
        All problems, not only the first; counts; boxes by size, class and split; a fingerprint of the content when
        there are no errors.

    Raises:
        DataError: the folder itself does not exist.
    """
    root = Path(directory)
    if not root.is_dir():
        raise DataError(f"the data set's folder must exist, but got {str(root)!r}")
    train_images, val_images = (images, images) if isinstance(images, str) else images
    checked = [_Split("train", root / train, root / train_images), _Split("val", root / val, root / val_images)]
    problems = [problem for split in checked for problem in split.found.problems]
    if all(split.readable for split in checked):
        problems += _compare(checked[0], checked[1])
    problems.sort(key=lambda problem: problem.severity)  # stable: errors first, otherwise in the order found
    sound = not any(problem.severity == "error" for problem in problems)
    fingerprints = [split.fingerprint() if sound else None for split in checked]
    return DataReport(
        directory=root,
        categories=checked[0].categories,
        splits={split.name: split.report(value) for split, value in zip(checked, fingerprints, strict=True)},
        rows=tuple(row for split in checked for row in split.rows()),
        problems=tuple(problems),
        fingerprint=_fingerprint.combine([str(value) for value in fingerprints]) if sound else None,
    )


def check_recipe_data(recipe: Recipe) -> DataReport:
    """Check the data of a recipe, see `check_dataset`.

    Raises:
        BadInput: a file is missing, or the two parts name different classes.
    """
    files = DataFiles.of(recipe)
    parts, images = (str(files.train), str(files.val)), (str(files.train_images), str(files.val_images))
    return check_dataset(files.train.parent, *parts, images)


class _Split:
    """One annotation file with its findings."""

    def __init__(self, name: str, path: Path, images: Path) -> None:
        self.name, self.path, self.images = name, path, images
        self.found = Findings(str(path), [])
        self.content, problem = malformed(path)
        self.readable = problem is None
        self.boxes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.num_images = 0
        self.categories: tuple[str, ...] = ()
        if problem is not None:
            self.found.problems.append(DataProblem(**vars(problem)))
            return
        sound = sound_entries(self.content, self.found)
        self.names = {category["id"]: category["name"] for _, category in sound["categories"]}
        self.categories = tuple(category["name"] for _, category in sound["categories"])
        self.num_images = len(sound["images"])
        self.boxes = check_annotations(sound, self.found)
        check_images(sound["images"], images, self.found)

    def fingerprint(self) -> str:
        return _fingerprint.fingerprint(self.path, self.images)

    def report(self, fingerprint: str | None) -> SplitReport:
        objects = [(annotation, image) for annotation, image in self.boxes if not annotation.get("iscrowd", 0)]
        with_boxes = {image["id"] for _, image in self.boxes}
        bigger = {image["id"] for annotation, image in objects if size_bin(annotation["area"]) != "small"}
        return SplitReport(
            annotations=self.path,
            images=self.num_images,
            boxes=len(objects),
            crowds=len(self.boxes) - len(objects),
            without_boxes=self.num_images - len(with_boxes),
            only_small=len({image["id"] for _, image in objects} - bigger),
            fingerprint=fingerprint,
        )

    def rows(self) -> list[SizeRow]:
        counts = Counter(
            (self.names[annotation["category_id"]], size_bin(annotation["area"]))
            for annotation, _ in self.boxes
            if not annotation.get("iscrowd", 0)
        )
        sizes = ("small", "medium", "large")
        return [SizeRow(self.name, name, *(counts[name, size] for size in sizes)) for name in self.categories]


def size_bin(area_px2: float) -> str:
    """Name COCO's size bin of an area in original pixels."""
    if area_px2 < SMALL_PX2:
        return "small"
    return "medium" if area_px2 < LARGE_PX2 else "large"


def _compare(train: _Split, val: _Split) -> list[DataProblem]:
    """Find what is wrong only when both splits are seen together."""
    problems = []
    if train.categories != val.categories:
        rule = f"must be those of {train.path.name} in the same order, {list(train.categories)}: mmdet numbers by it"
        problems.append(DataProblem(str(val.path), "categories", list(val.categories), rule))
    shared = sorted(_file_names(train) & _file_names(val))
    if shared and train.images == val.images:
        rule = f"should not name images of {train.path.name}: {len(shared)} are in both splits"
        problems.append(DataProblem(str(val.path), "images", shared[0], rule, severity="warning"))
    return problems


def _file_names(split: _Split) -> set[str]:
    entries = (image for image in split.content["images"] if isinstance(image, dict))
    return {image["file_name"] for image in entries if isinstance(image.get("file_name"), str)}
