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
    found: dict[str, str] = {}
    if recipe.distill.labels.looks_at_labelled:
        index = indexed(files.train)
        paths = [str(files.train_images / on_disk(index.image(place)["file_name"])) for place in range(len(index))]
        found |= {image_digest(path): path for path in paths}
    if files.photographs is not None and sees_unlabelled(recipe):
        found |= dict(zip(files.photographs.digests, files.photographs.paths, strict=True))
    return found


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
