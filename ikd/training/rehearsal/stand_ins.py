"""What stands in for what a teacher has not made yet: what it holds changes no step and no duration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ikd.attack import PerturbationStore
from ikd.augment import TeacherBoxes, content_of
from ikd.config import Recipe
from ikd.data import DataFiles, indexed, on_disk, rescaled, size_of
from ikd.evaluation.labels import LabelStore
from ikd.training.unlabelled.reading import images_for_labels


def half_boxes(files: DataFiles, file: Path) -> Path:
    """Write boxes that cover half of each training image, and return their file."""
    index = indexed(files.train)
    halves = zip(index.widths.tolist(), index.heights.tolist(), strict=True)
    boxes = [np.array([[0, 0, width, height / 2, 1]], np.float32) for width, height in halves]
    TeacherBoxes.write(file, dict(zip(_contents(files), boxes, strict=True)))
    return file


def half_labels(recipe: Recipe, files: DataFiles, root: Path) -> Path:
    """Write labels of a teacher that cover half of each image, of the first class, and return their folder."""
    store = LabelStore(root, {"stand-in": True, "classes": list(files.classes), "threshold": 0.5})
    found: dict[str, NDArray[np.float32]] = {}
    for image, path in images_for_labels(recipe, files).items():
        width, height = size_of(Path(path)).turned
        found[image] = np.array([[0, 0, width, height / 2, 1, 0]], np.float32)
    store.write(found)
    return store.folder


def zero_perturbations(recipe: Recipe, files: DataFiles, root: Path) -> Path:
    """Write a store of perturbations that change nothing, and return its folder."""
    index, store = indexed(files.train), PerturbationStore(root, {"stand-in": True})
    sizes = np.stack([index.widths, index.heights], axis=1).astype(np.float64)
    seen = rescaled(sizes, recipe.input.scale, keep_ratio=recipe.input.keep_ratio).astype(int).tolist()
    for image, (width, height) in zip(_contents(files), seen, strict=True):
        store.write(image, np.zeros((height, width, 3), np.int8))
    store.finish({})
    return store.folder


def _contents(files: DataFiles) -> Iterator[str]:
    """Yield the digest of each training image, in the order of the file."""
    index = indexed(files.train)
    for place in range(len(index)):
        yield content_of({"img_path": files.train_images / on_disk(index.image(place)["file_name"])})
