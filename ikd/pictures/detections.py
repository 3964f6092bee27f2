"""The photographs with the most errors: what is there, what the teacher finds, what the student finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from ikd.config import Recipe
from ikd.data import DataFiles, image_loader, indexed, on_disk
from ikd.errors import BadInput
from ikd.pictures.grid import Cell, write_grid
from ikd.pictures.judged import FALSE, IOU, Boxes, Judged, Truths
from ikd.pictures.masks import MaskReader, Masks, truth_masks
from ikd.pictures.panel import Marks, panel
from ikd.pictures.style import FAINT, LONGEST_FILE, STUDENT, TEACHER, TRUTH, WRONG, plain

COUNT = 8
"""Photographs that are shown."""
_ASIDE = "ignored"


@dataclass(frozen=True)
class Seer:
    """A detector beside the truth: who it is, how it did, and its colour."""

    name: str
    judged: Judged
    colour: str


def worst(student: Judged, truths: Sequence[Truths], count: int = COUNT) -> list[int]:
    """Return the places of the images in which the student errs most, those of equally many in their order."""
    errors = [one.errors(own, student.least) for one, own in zip(student.images, truths, strict=True)]
    return sorted(range(len(errors)), key=lambda place: (-errors[place], place))[:count]


def write_detections(
    folder: Path,
    recipe: Recipe,
    files: DataFiles,
    student: Judged,
    teacher: tuple[str, Judged] | None,
    masks: MaskReader | None = None,
) -> list[str]:
    """Write the photographs with the student's most errors as 00.jpg, 01.jpg, ...

    Args:
        folder: is made.
        recipe: says which way up images are read.
        files: of its data.
        student: on the validation part.
        teacher: its name and how it does there; None leaves it out.
        masks: reads those of the student; None where only boxes are shown.

    Returns:
        File names of the photographs, as the annotations have them, in the order of the pictures.

    Raises:
        BadInput: a photograph cannot be read.
    """
    folder.mkdir()
    index = indexed(files.val)
    truths = [Truths.of(index, place) for place in range(len(index))]
    seers = [Seer(f"teacher {plain(teacher[0])}", teacher[1], TEACHER)] if teacher is not None else []
    seers.append(Seer("student", student, STUDENT))
    names = []
    for rank, place in enumerate(worst(student, truths)):
        name = str(index.image(place)["file_name"])
        pixels = read_photograph(recipe, files.val_images / on_disk(name))
        own, classes = truths[place], index.classes
        there = (truth_masks(index, place), TRUTH) if masks is not None else None
        cells = [Cell(panel(pixels, _truth_marks(own, classes), masks=there), _truth_caption(own), TRUTH)]
        for seer in seers:
            seen = (masks(place, student.least), STUDENT) if masks is not None and seer.judged is student else None
            cells.append(_seen(pixels, seer, seer.judged.images[place], own, classes, seen))
        errors = student.images[place].errors(own, student.least)
        title = f"{rank + 1}. {plain(name, LONGEST_FILE)}: {errors} errors of the student"
        write_grid(folder / f"{rank:02d}.jpg", [cells], title=title, foot=_foot())
        names.append(name)
    return names


def _foot() -> str:
    return (
        f"in its colour: found (IoU {IOU:g} or more, right class)   red: false   dashed green: missed   "
        "dotted grey: crowd or ignored, counts for nothing   numbers: score x100, shown from the one of the best F1"
    )


def read_photograph(recipe: Recipe, path: Path) -> NDArray[np.uint8]:
    """Return a photograph [H, W, 3] RGB as training reads it.

    Raises:
        BadInput: it cannot be read.
    """
    loader: Any = TRANSFORMS.build(image_loader(recipe.data.orientation))
    try:
        pixels = loader.transform({"img_path": str(path)})["img"]
    except Exception as error:  # OpenCV, mmcv and the file system each have their own
        raise BadInput(f"{path}: must be an image that can be read: {error}") from error
    rgb: NDArray[np.uint8] = np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint8)
    return rgb


def _truth_marks(truths: Truths, classes: Sequence[str]) -> list[Marks]:
    counted, labels = ~truths.crowds, [plain(classes[label]) for label in truths.labels]
    return [
        Marks(truths.boxes[counted], _chosen(labels, counted), TRUTH),
        Marks(truths.boxes[truths.crowds], [_ASIDE] * int(truths.crowds.sum()), FAINT, ":"),
    ]


def _truth_caption(truths: Truths) -> str:
    return f"truth: {int((~truths.crowds).sum())} objects"


def _seen(
    pixels: NDArray[np.uint8],
    seer: Seer,
    found: Boxes,
    truths: Truths,
    classes: Sequence[str],
    masks: tuple[Masks, str] | None,
) -> Cell:
    least = seer.judged.least
    sure, false, missed = found.sure(least), found.false(least), found.missed(truths, least)
    right = sure & (found.verdicts != FALSE)
    labels = [
        f"{plain(classes[label])} {100 * score:.0f}" for label, score in zip(found.labels, found.scores, strict=True)
    ]
    names = [plain(classes[label]) for label in truths.labels]
    marks = [
        Marks(found.boxes[false], _chosen(labels, false), WRONG),
        Marks(truths.boxes[missed], _chosen(names, missed), TRUTH, "--"),
        Marks(found.boxes[right], _chosen(labels, right), seer.colour),
    ]
    caption = f"{seer.name}: {int(missed.sum())} missed, {int(false.sum())} false, score {100 * least:.0f} or more"
    return Cell(panel(pixels, marks, masks=masks), caption, seer.colour)


def _chosen(texts: Sequence[str], which: NDArray[np.bool_]) -> list[str]:
    return [text for text, taken in zip(texts, which, strict=True) if taken]
