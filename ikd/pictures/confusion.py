"""Which classes are taken for which, what is missed, and what is seen where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ikd.data import matched_across_classes
from ikd.pictures.judged import IGNORED, IOU, Boxes, Truths
from ikd.pictures.style import DPI, plain, save

MOST_CLASSES = 60
"""Classes that a matrix has room for: those of the most errors."""
_SLANTED = 6
"""Up to so many columns their names can be read without turning one's head much."""
_WRITTEN = 16
"""Up to so many classes each cell says its number."""


@dataclass(frozen=True)
class Listed:
    """Boxes of one image with their classes.

    Attributes:
        boxes: [n, 4], corners in pixels of the original image.
        labels: [n] int.
        scores: [n], 0..1.
        crowds: [n] bool: they need not be found, and take up what is found on them.
    """

    boxes: NDArray[Any]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    crowds: NDArray[np.bool_]


def of_truth(truths: Truths) -> Listed:
    """Return what is there."""
    return Listed(truths.boxes, truths.labels, np.ones(len(truths.labels)), truths.crowds)


def of_detector(found: Boxes, least: float, truths: Truths) -> Listed:
    """Return what a detector sees with at least this score, crowds apart; a crowd stays one in place of it."""
    sure = found.sure(least) & (found.verdicts != IGNORED)
    count, crowds = int(sure.sum()), truths.crowds
    return Listed(
        np.concatenate([found.boxes[sure], truths.boxes[crowds]]),
        np.concatenate([found.labels[sure], truths.labels[crowds]]),
        np.concatenate([found.scores[sure], np.ones(int(crowds.sum()))]),
        np.concatenate([np.zeros(count, dtype=bool), np.ones(int(crowds.sum()), dtype=bool)]),
    )


def confusion(references: Sequence[Listed], found: Sequence[Listed], classes: int) -> NDArray[np.int64]:
    """Count who is taken for whom: each box, the surest first, with the reference it overlaps most, of any class.

    Args:
        references: by image.
        found: by image; crowds among them are left out.
        classes: number of classes.

    Returns:
        [classes + 1, classes + 1]: reference by found; the last row is nothing there, the last column not found.
    """
    content: dict[str, Any] = {"images": [{"id": i} for i in range(len(references))], "annotations": []}
    content["categories"] = [{"id": label, "name": str(label)} for label in range(classes)]
    detections: list[dict[str, Any]] = []
    for i, (reference, own) in enumerate(zip(references, found, strict=True)):
        content["annotations"] += [
            {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "iscrowd": int(crowd)}
            for box, label, crowd in zip(reference.boxes, reference.labels, reference.crowds, strict=True)
        ]
        detections += [
            {"image_id": i, "category_id": int(label), "bbox": _xywh(box), "score": float(score)}
            for box, label, score, crowd in zip(own.boxes, own.labels, own.scores, own.crowds, strict=True)
            if not crowd
        ]
    there = [int(one["category_id"]) for one in content["annotations"]]
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for one in matched_across_classes(content, detections, IOU):
        for identity, match, ignored in zip(one["gtIds"], one["gtMatches"][0], one["gtIgnore"], strict=True):
            if not ignored:
                seen = detections[int(match) - 1]["category_id"] if match else classes
                counts[there[identity - 1], seen] += 1
        for identity, match, ignored in zip(one["dtIds"], one["dtMatches"][0], one["dtIgnore"][0], strict=True):
            if not ignored and not match:
                counts[classes, detections[identity - 1]["category_id"]] += 1
    return counts


def _xywh(box: NDArray[Any]) -> list[float]:
    left, top, right, bottom = (float(value) for value in box)
    return [left, top, right - left, bottom - top]


def write_confusion(
    path: Path, counts: NDArray[np.int64], classes: Sequence[str], *, reference: str, least: float, note: str
) -> None:
    """Draw a matrix of confusions, each row in percent of its objects.

    Args:
        path: a `.png`.
        counts: as `confusion` returns them.
        classes: names, by label.
        reference: what the rows are: `truth`, or who has seen them.
        least: score of the student's boxes that the columns are.
        note: a line below the title.
    """
    shown = _shown(counts)
    names = [plain(classes[label]) for label in shown]
    rows, columns = [*names, "nothing"], [*names, "not found"]
    places = [*shown, len(classes)]
    part = counts[np.ix_(places, places)]
    share = part / np.maximum(counts[places].sum(axis=1, keepdims=True), 1)
    share[-1, :] = part[-1] / max(1, part[-1].sum())
    side = max(4.2, 0.30 * len(rows) + 2.4) if len(shown) > _WRITTEN else max(4.6, 0.62 * len(rows) + 2.4)
    figure = Figure(figsize=(side + 1.2, side), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    slanted = len(columns) <= _SLANTED
    axes.set_xticks(range(len(columns)), columns, rotation=30 if slanted else 90, ha="right" if slanted else "center")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=f"the student's boxes, score {100 * least:.0f} or more", ylabel=reference)
    if len(shown) <= _WRITTEN:
        _write_cells(axes, part, share)
    axes.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="% of the row")
    some = f"; {len(shown)} of {len(classes)} classes: those of the most errors" if len(shown) < len(classes) else ""
    figure.suptitle(f"student against {reference}", fontsize=12, weight="bold")
    axes.set_title(f"{note}{some}", loc="left", fontsize=8.5, weight="normal")
    save(figure, path)


def _shown(counts: NDArray[np.int64]) -> list[int]:
    """Return the labels that the matrix shows, in their order."""
    classes = len(counts) - 1
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    by_errors = sorted(range(classes), key=lambda label: (-int(errors[label]), label))
    return sorted(by_errors[:MOST_CLASSES])


def _write_cells(axes: Any, part: NDArray[np.int64], share: NDArray[np.float64]) -> None:
    for row in range(len(part)):
        for column in range(len(part)):
            if row == column == len(part) - 1:
                text = ""  # where nothing is and nothing is seen
            else:
                text = f"{100 * share[row, column]:.0f} %\n{part[row, column]}" if part[row, column] else "·"
            colour = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
