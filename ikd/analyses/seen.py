"""What teacher and student see in the validation part, and what the teacher is sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.analyses.finding import told
from ikd.analyses.pair import Pair
from ikd.data import CocoIndex, coco_metrics, indexed
from ikd.errors import BadInput, refuse
from ikd.pictures.judged import detections_of
from ikd.trial import NotifyOf

SCORE = 0.3
"""Boxes of a teacher with a score above this are taken for what is there (IKD, Table 4)."""
SIZES = {"AP": "mAP", "APs": "APs", "APm": "APm", "APl": "APl"}
"""Names of the papers' four figures, and what ikd's metrics call them."""
Detections = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Seen:
    """Boxes of both in the validation part, as COCO says them."""

    teacher: Detections
    student: Detections


def look(pair: Pair, progress: NotifyOf | None) -> Seen:
    """Run both over the validation part, the teacher first, one at a time in memory.

    Raises:
        BadInput: weights that are not there or do not fit, or a photograph that cannot be read.
    """
    name = f"teacher {pair.teacher_name} on the validation part"
    teacher = detections_of(pair.teacher(), pair.recipe, pair.files, told(progress, name))
    student = detections_of(pair.student(), pair.recipe, pair.files, told(progress, "student on the validation part"))
    return Seen(teacher, student)


def sure(detections: Detections, score: float) -> list[Mapping[str, Any]]:
    """Return the boxes with a score above this."""
    return [one for one in detections if one["score"] > score]


def believed(detections: Detections, score: float) -> list[Mapping[str, Any]]:
    """Return the boxes of a teacher with a score above this.

    Raises:
        BadInput: there is none; names the best score.
    """
    found = sure(detections, score)
    if not found:
        best = max((one["score"] for one in detections), default=0.0)
        raise BadInput(f"--score: must be below the teacher's surest box, whose score is {best:.3f}, but got {score}")
    return found


def check_score(score: float) -> None:
    """Refuse a score that is none.

    Raises:
        BadInput: it is outside 0..1.
    """
    if not 0 <= score < 1:
        refuse("--score", "must be in 0..1, below 1", score)


def pseudo_truth(annotations: Path, detections: Detections, score: float = SCORE) -> dict[str, Any]:
    """Take what a teacher is sure of for the truth (IKD, Table 4).

    Args:
        annotations: COCO json of the validation part, whose images and classes stay.
        detections: of the teacher there.
        score: its boxes above this are objects.

    Returns:
        Content of a COCO file; areas are those of the boxes, px^2.

    Raises:
        BadInput: no box has such a score; names the best one.
    """
    return as_truth(indexed(annotations), believed(detections, score))


def as_truth(index: CocoIndex, detections: Detections) -> dict[str, Any]:
    """Return the content of a COCO file in which these boxes are the objects, in their order."""
    return {
        "images": [{"id": one} for one in index.ids.tolist()],
        "categories": index.categories,
        "annotations": [{key: one[key] for key in ("image_id", "category_id", "bbox")} for one in detections],
    }


def figures(truth: Path | Mapping[str, Any], detections: Detections) -> dict[str, float]:
    """Return the four figures of the papers' tables x100, and `AP/<class>`; NaN where there is no such object."""
    metrics = coco_metrics(truth, detections)
    found = {name: metrics[f"bbox_{own}"] for name, own in SIZES.items()}
    start = "bbox_AP/"
    found |= {name.removeprefix("bbox_"): value for name, value in metrics.items() if name.startswith(start)}
    # pycocotools adds 2e-16 to a precision's denominator, so that one box that is found gives 0.9999999999999998
    return {name: round(100 * value, 9) for name, value in found.items()}
