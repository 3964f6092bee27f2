"""What of a teacher's boxes is taught: by their scores, as entries that mmdet's pipelines read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ikd.config import Recipe, sees_unlabelled
from ikd.data import DataFiles, image_digest, indexed, on_disk
from ikd.evaluation.labels import Boxes, LabelBook, LabelStore

FILL_IOU = 0.5
"""A box that overlaps a label by this much shows what has that label."""


class TaughtBoxes:
    """A teacher's boxes of images, from a threshold on, and those below it that are to be ignored.

    Args:
        book: boxes of the images, of the student's classes.
        threshold: least score of an object.
        ignore: least score of a box that is set aside; None sets none aside.
    """

    def __init__(self, book: LabelBook, threshold: float, ignore: float | None = None) -> None:
        self._book, self.threshold, self.ignore = book, threshold, ignore

    def instances(self, image: str) -> list[dict[str, Any]]:
        """Return the boxes of an image as mmdet's `LoadAnnotations` reads them."""
        least = self.threshold if self.ignore is None else self.ignore
        boxes = self._book.of(image)
        return [self._instance(row) for row in boxes[boxes[:, 4] >= least]]

    def scored(self, image: str) -> Boxes:
        """Return the boxes of an image from the threshold on, [n, 6]: corners in its pixels, score, class."""
        boxes = self._book.of(image)
        return boxes[boxes[:, 4] >= self.threshold]

    def beside(self, image: str, labels: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the boxes of an image that none of its labels is about.

        Args:
            image: its digest.
            labels: its labels, as instances.
        """
        boxes = self.scored(image)
        if len(labels):
            single = _corners(one["bbox"] for one in labels if not one.get("ignore_flag"))
            crowds = _corners(one["bbox"] for one in labels if one.get("ignore_flag"))
            known = _overlap(boxes, single, own_area=False) >= FILL_IOU
            within = _overlap(boxes, crowds, own_area=True) >= FILL_IOU
            boxes = boxes[~(known | within)]
        return [self._instance(row) for row in boxes]

    def _instance(self, row: Boxes) -> dict[str, Any]:
        aside = int(row[4] < self.threshold)
        return {"bbox": row[:4].tolist(), "bbox_label": int(row[5]), "ignore_flag": aside}


def labels_from(
    folder: Path | str,
    images: Iterable[str],
    classes: Sequence[str],
    *,
    threshold: float | str,
    ignore: float | None = None,
) -> TaughtBoxes:
    """Read what a teacher's labels teach of images.

    Args:
        folder: of the store.
        images: digests.
        classes: of the student, in its order; boxes of other classes are left out.
        threshold: least score, or `auto` for that of the teacher's kind.
        ignore: as for `TaughtBoxes`.

    Raises:
        DataError: the labels are not there, or not those of these images.
    """
    store = LabelStore.open(Path(folder))
    chosen = float(store.key["threshold"] if threshold == "auto" else threshold)
    book = store.read(images, chosen if ignore is None else min(chosen, ignore), classes)
    return TaughtBoxes(book, chosen, ignore)


def images_for_labels(recipe: Recipe, files: DataFiles) -> dict[str, str]:
    """Return the paths, by digest, of the images whose teacher's boxes a stage reads."""
    labelled = _labelled(files) if recipe.distill.labels.looks_at_labelled else {}
    return labelled | _photographs(recipe, files)


def _labelled(files: DataFiles) -> dict[str, str]:
    index = indexed(files.train)
    paths = [str(files.train_images / on_disk(index.image(place)["file_name"])) for place in range(len(index))]
    return {image_digest(path): path for path in paths}


def _photographs(recipe: Recipe, files: DataFiles) -> dict[str, str]:
    if files.photographs is None or not sees_unlabelled(recipe):
        return {}
    return dict(zip(files.photographs.digests, files.photographs.paths, strict=True))


def said_of_labels(recipe: Recipe, files: DataFiles, folder: Path) -> list[str]:
    """Return for people how many of a teacher's boxes are labels, each threshold that acts in a line.

    Args:
        recipe: in force, with `distill.labels` switched on.
        files: its data.
        folder: of the store.
    """
    section, photographs, store = recipe.distill.labels, _photographs(recipe, files), LabelStore.open(folder)
    hard = float(store.key["threshold"] if section.threshold == "auto" else section.threshold)
    acting: list[tuple[str, float, Iterable[str], str]] = []
    if photographs and section.form != "soft":
        acting.append(("threshold", hard, photographs, "photographs"))
    if section.form != "hard":
        acting.append(("soft.tau", section.soft.tau, images_for_labels(recipe, files), "images"))
    if section.labelled == "fill":
        acting.append(("threshold_fill", section.threshold_fill, _labelled(files), "labelled images"))
    who = f"recipe {recipe.name}: distill.labels"
    return [
        _said(f"{who}.{field} {least:g}", store.read(images, 0.0, files.classes), set(images), least, shown)
        for field, least, images, shown in acting
    ]


def _said(who: str, book: LabelBook, images: set[str], least: float, shown: str) -> str:
    scores = [book.of(image)[:, 4] for image in images]
    counts = [int((one >= least).sum()) for one in scores]
    if any(counts):
        return f"{who} leaves {sum(counts)} boxes on {sum(map(bool, counts))} of {len(images)} {shown}"
    best = max((float(one.max()) for one in scores if len(one)), default=None)
    why = "the teacher sees nothing in them" if best is None else f"the teacher's best score there is {best:.2f}"
    return f"warning: {who} leaves no box on any of {len(images)} {shown}, which teach nothing by it: {why}"


def _corners(boxes: Iterable[Any]) -> Boxes:
    return np.array(list(boxes), np.float32).reshape(-1, 4)


def _overlap(boxes: Boxes, others: Boxes, *, own_area: bool) -> Any:
    """Return [n] the largest IoU of boxes with others, or the largest share of their own area inside one of them."""
    if not len(others) or not len(boxes):
        return np.zeros(len(boxes))
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:4], others[None, :, 2:4])
    shared = (high - low).clip(min=0).prod(axis=2)  # [n, m]
    areas = (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)[:, None]
    whole = areas if own_area else areas + (others[:, 2:] - others[:, :2]).prod(axis=1)[None] - shared
    return (shared / np.maximum(whole, np.finfo(np.float32).eps)).max(axis=1)
