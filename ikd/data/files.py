"""Where the data of a recipe lies."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ikd.config import DRAWN, Recipe, Split, sees_unlabelled
from ikd.data.coco import on_disk
from ikd.data.drawn.draw import drawn_dataset, drawn_folder
from ikd.data.identity import DataRecord, part_records
from ikd.data.reader import categories, indexed
from ikd.data.unlabelled.photographs import Photographs, photographs_of
from ikd.errors import BadInput, DataGone, IkdError

Config = dict[str, Any]
Places = tuple[Path, Path, Path, Path]
"""Annotations and images of the training part, then those of the validation part."""


@dataclass(frozen=True)
class DataFiles:
    """Where the data of a recipe lies; photographs without labels only where a stage shows them."""

    train: Path
    train_images: Path
    val: Path
    val_images: Path
    classes: tuple[str, ...]
    test: Path | None = None
    test_images: Path | None = None
    photographs: Photographs | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> DataFiles:
        """Find the files of a recipe; the drawn data set is drawn when it is not there yet.

        Raises:
            BadInput: a file is missing, or the parts name different classes.
        """
        train, train_images, val, val_images = places_of(recipe)
        test, test_images = places_of_test(recipe) or (None, None)
        classes = categories(train)
        for path in (val, test):
            if path is not None and (other := categories(path)) != classes:
                raise BadInput(
                    f"{path}: categories: must be those of the training part, "
                    f"{list(classes)} in this order, but got {list(other)}"
                )
        shown = any(sees_unlabelled(plan.recipe) for plan in recipe.stages)
        photographs = photographs_of(recipe) if shown else None
        return cls(train, train_images, val, val_images, classes, test, test_images, photographs)

    def record(self) -> DataRecord:
        """Return what the parts show now, and in which order their classes come.

        Raises:
            DataError: see `ikd.data.fingerprint`.
        """
        train, val = part_records((self.train, self.train_images), (self.val, self.val_images))
        unlabelled = self.photographs.record if self.photographs is not None else None
        return DataRecord(self.classes, train, val, unlabelled)

    @cached_property
    def seen(self) -> DataRecord:
        """What `record` returned when this was first asked for: all that is kept by it is kept for the same data."""
        return self.record()

    def fingerprint(self) -> str:
        """Return one hash of the content of both labelled parts as `seen`; the classes' order is no part of it."""
        return self.seen.labelled


def data_of(recipe: Recipe) -> DataRecord:
    """Return what the data of a recipe show now.

    Raises:
        BadInput: see `DataFiles.of` and `DataFiles.record`.
    """
    return DataFiles.of(recipe).record()


def places_of(recipe: Recipe) -> Places:
    """Return where annotations and images of train, then of val lie; the drawn data set is drawn if need be.

    Raises:
        BadInput: one is not there.
    """
    return *_place_of(recipe, "train", recipe.data.train), *_place_of(recipe, "val", recipe.data.val)


def places_of_test(recipe: Recipe) -> tuple[Path, Path] | None:
    """Return where annotations and images of the test part lie; None where the recipe has none.

    Raises:
        BadInput: one is not there.
    """
    return None if recipe.data.test is None else _place_of(recipe, "test", recipe.data.test)


def _place_of(recipe: Recipe, part: str, split: Split) -> tuple[Path, Path]:
    root = drawn_dataset() if recipe.data.root == DRAWN else Path(recipe.data.root)
    annotations, images = root / split.annotations, root / split.images
    for key, path, there in (("annotations", annotations, annotations.is_file()), ("images", images, images.is_dir())):
        if not there:
            kind = "a COCO json file" if key == "annotations" else "a folder of images"
            near = _held(root, key)
            raise BadInput(f"recipe {recipe.name}: data.{part}.{key}: must be {kind}, but {path} is not there{near}")
    return annotations, images


def _held(root: Path, key: str) -> str:
    """Say which json files, or folders, a data set's root has in place of what a recipe names; nothing where none."""
    found = root.glob("*.json") if key == "annotations" else (one for one in root.glob("*") if one.is_dir())
    names = sorted(one.name for one in found)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"; in {root} are {', '.join(names[:5])}{more}" if names else ""


def lines_of(root: Path, files: Mapping[str, Path], images: str) -> str:
    """Return the lines of a recipe that read some files.

    Args:
        root: folder of the data set, absolute.
        files: annotations of each part.
        images: folder of the images, relative to the root.
    """
    lines = ["data:", f"  root: {root}"]
    for name, file in files.items():
        inside = file.absolute().is_relative_to(root)
        path = os.path.relpath(file.absolute(), root) if inside else str(file.absolute())
        lines.append(f"  {name}: {{annotations: {path}, images: {images}}}")
    return "\n".join(lines)


def lost(recipe: Recipe, photographs: Photographs | None = None) -> str:
    """Say what of the data of a recipe is not there, or no longer a data set; empty where all files are.

    Files are looked at by name alone, so that it takes seconds for COCO. For after something has failed.

    Args:
        recipe: whose data.
        photographs: those without labels, as they were found before.
    """
    for photograph in photographs.paths if photographs is not None else ():
        try:
            os.stat(photograph)
        except OSError as error:
            return f"data.unlabeled: {photograph} cannot be read ({error.strerror})"
    try:
        train, train_images, val, val_images = places_of(recipe)
        for file, images in ((train, train_images), (val, val_images)):
            index = indexed(file)
            for place in range(len(index)):
                path = images / on_disk(index.image(place)["file_name"])
                try:
                    os.stat(path)
                except OSError as error:
                    return f"{file}: images[{place}].file_name: {path} cannot be read ({error.strerror})"
    except (BadInput, OSError) as error:
        return str(error)
    return ""


@contextlib.contextmanager
def told_when_lost(recipe: Recipe, photographs: Photographs | None = None) -> Iterator[None]:
    """Read the data of a recipe in the block: what comes of their vanishing meanwhile is told as that.

    Args:
        recipe: whose data.
        photographs: those without labels that are read too.

    Raises:
        DataGone: something has failed, and they are not all there, or one is no picture any more; names the first file.
    """
    try:
        yield
    except IkdError:  # says what it is: no walk over all files for each trial that diverges
        raise
    except Exception as error:
        if what := lost(recipe, photographs) or _spoilt(error):
            raise DataGone(what) from error
        raise


def _spoilt(error: Exception) -> str:
    """Say which file it is that mmcv could not decode, though it could before; nothing where it is another failure."""
    found = re.findall(r"failed to load image: (.+)", str(error))  # a worker's says the line of code before
    return f"{found[-1]} can no longer be decoded" if found else ""


def training_annotations(recipe: Recipe) -> Path:
    """Return where the annotations of the training part lie, whether they are there or not; nothing is drawn."""
    root = drawn_folder() if recipe.data.root == DRAWN else Path(recipe.data.root)
    return root / recipe.data.train.annotations


def trained_on(recipe: Recipe) -> Config:
    """Return which images of the training part are trained on, as mmdet's CocoDataset takes it."""
    return {"filter_empty_gt": not recipe.data.keep_empty, "min_size": 1}


def part_of(files: DataFiles, part: str) -> Config:
    """Return what mmdet's CocoDataset needs to find `train`, `val`, or a `test` that is there."""
    return {
        "ann_file": str(getattr(files, part)),
        "data_prefix": {"img": str(getattr(files, f"{part}_images"))},
        "metainfo": {"classes": files.classes},
    }
