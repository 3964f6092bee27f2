"""Which of the teacher's classes a student takes for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ikd.analyses.finding import Finding, folder_for, shown, write_numbers
from ikd.analyses.pair import Pair
from ikd.analyses.seen import SCORE, Detections, as_truth, believed, check_score, look, sure
from ikd.data import CocoIndex, coco_evaluation, indexed
from ikd.pictures.confusion import Listed, confusion, write_confusion
from ikd.pictures.judged import IOU
from ikd.pictures.style import drawing, plain
from ikd.trial import NotifyOf

MOST_ROWS = 20
"""Classes that the table lists: those of the most boxes."""


def analyze_confusion(pair: Pair, to: Path, *, score: float = SCORE, progress: NotifyOf | None = None) -> Finding:
    """Count which class of the teacher's the student takes for which (Liang et al., Figure 7).

    Rows are the classes of the teacher's boxes with a score above `score`, columns those of the student's boxes that
    are matched with them, the surest first, at an IoU of 0.5 or more: first with boxes of their own class, then with
    what is left of any. (Detectors often see two classes in one box; the teacher itself is to agree with itself.) The
    last column is what the student does not see, the last row what it alone sees. Of a row's objects the diagonal is
    the rate of agreement.

    Args:
        pair: student and teacher.
        to: folder for confusion.png and confusion.json; made where it is not there.
        score: 0..1, for the boxes of both.
        progress: told what is done, and how much of it.

    Returns:
        `numbers`: `classes`; `counts` [classes + 1, classes + 1], teacher by student; `agreement` by class, x100 (null
        without a box); `agreement_all`, of all boxes of the teacher; `seen_by_student_alone`; `score`; `iou`.

    Raises:
        BadInput: the teacher is sure of nothing, or what `look` refuses.
    """
    check_score(score)
    folder = folder_for(to)
    seen = look(pair, progress)
    index = indexed(pair.files.val)
    counts = taken_for(index, believed(seen.teacher, score), sure(seen.student, score))
    picture, file = folder / "confusion.png", folder / "confusion.json"
    reference = f"teacher {plain(pair.teacher_name)}"
    note = f"IoU {IOU:.2f} or more, of the same class first"
    with drawing():
        write_confusion(picture, counts, index.classes, reference=reference, least=score, note=note)
    numbers = _numbers(counts, index.classes) | {"score": score, "iou": IOU}
    content = write_numbers(file, "confusion", pair.about, numbers)
    return Finding(
        f"{plain(pair.name, 60)} against {reference}",
        ("class of the teacher's box", "boxes", "agreed %", "other class %", "not seen %"),
        _rows(counts, index.classes),
        _said(counts, index.classes),
        content,
        (picture, file),
    )


def taken_for(index: CocoIndex, teacher: Detections, student: Detections) -> NDArray[np.int64]:
    """Count which class of the teacher's is taken for which: [classes + 1, classes + 1], as `confusion` does.

    Args:
        index: of the images.
        teacher: its boxes there.
        student: its boxes there.
    """
    labels = {identity: label for label, identity in enumerate(index.category_ids)}
    agreed, rest = _of_one_class(index, teacher, student)
    counts = confusion(_by_image(index, rest[0]), _by_image(index, rest[1]), len(index.classes))
    for one in agreed:
        counts[labels[one["category_id"]], labels[one["category_id"]]] += 1
    return counts


def _of_one_class(
    index: CocoIndex, teacher: Detections, student: Detections
) -> tuple[list[Mapping[str, Any]], tuple[Detections, Detections]]:
    """Return the teacher's boxes with a match of their own class, and what both have besides."""
    evaluation = coco_evaluation(as_truth(index, teacher), student)
    whole = evaluation.params.areaRng[0]
    places = [place for place, one in enumerate(evaluation.params.iouThrs) if np.isclose(one, IOU)]
    theirs, ours = set[int](), set[int]()
    for one in evaluation.evalImgs:
        if one is not None and one["aRng"] == whole:
            found = one["gtMatches"][places[0]]
            theirs |= {int(own) - 1 for own, match in zip(one["gtIds"], found, strict=True) if match}
            ours |= {int(match) - 1 for match in found if match}
    left = [one for place, one in enumerate(teacher) if place not in theirs]
    own_left = [one for place, one in enumerate(student) if place not in ours]
    return [teacher[place] for place in sorted(theirs)], (left, own_left)


def _by_image(index: CocoIndex, detections: Detections) -> list[Listed]:
    """Return boxes image by image, in the order of the annotations."""
    labels = {identity: label for label, identity in enumerate(index.category_ids)}
    rows: dict[int, list[Mapping[str, Any]]] = {int(identity): [] for identity in index.ids}
    for one in detections:
        rows[one["image_id"]].append(one)
    return [_listed(own, labels) for own in rows.values()]


def _listed(rows: Sequence[Mapping[str, Any]], labels: Mapping[int, int]) -> Listed:
    boxes = np.array([one["bbox"] for one in rows], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # x, y, width, height -> corners
    return Listed(
        boxes,
        np.array([labels[one["category_id"]] for one in rows], dtype=np.int64),
        np.array([one["score"] for one in rows], dtype=np.float64),
        np.zeros(len(rows), dtype=bool),
    )


def agreement(counts: NDArray[np.int64]) -> tuple[list[float], float]:
    """Return the share of the teacher's boxes, x100, in which the student sees the same class, by class and of all.

    Args:
        counts: as `ikd.pictures.confusion.confusion` returns them.

    Returns:
        NaN for a class without a box.
    """
    own = counts[:-1]
    boxes, agreed = own.sum(axis=1), np.diag(counts)[:-1]
    by_class = np.where(boxes > 0, 100 * agreed / np.maximum(boxes, 1), np.nan)
    return by_class.tolist(), float(100 * agreed.sum() / boxes.sum()) if boxes.sum() else float("nan")


def _numbers(counts: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    by_class, of_all = agreement(counts)
    return {
        "classes": list(classes),
        "counts": counts.tolist(),
        "agreement": dict(zip(classes, by_class, strict=True)),
        "agreement_all": of_all,
        "seen_by_student_alone": int(counts[-1].sum()),
    }


def _rows(counts: NDArray[np.int64], classes: Sequence[str]) -> list[list[str]]:
    boxes = counts[:-1].sum(axis=1)
    listed = sorted(range(len(classes)), key=lambda label: (-int(boxes[label]), label))[:MOST_ROWS]
    by_class, of_all = agreement(counts)
    rows = []
    for label in sorted(listed):
        own, total = counts[label], max(1, int(boxes[label]))
        other = 100 * (own[:-1].sum() - own[label]) / total if boxes[label] else float("nan")
        missed = 100 * own[-1] / total if boxes[label] else float("nan")
        rows.append([plain(classes[label]), str(boxes[label]), shown(by_class[label]), shown(other), shown(missed)])
    total = max(1, int(boxes.sum()))
    other = 100 * (counts[:-1, :-1].sum() - np.diag(counts)[:-1].sum()) / total
    rows.append(["all", str(boxes.sum()), shown(of_all), shown(other), shown(100 * counts[:-1, -1].sum() / total)])
    return rows


def _said(counts: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    lines = [f"{counts[-1].sum()} boxes are seen by the student alone"]
    if len(classes) > MOST_ROWS:
        lines.append(f"{MOST_ROWS} of {len(classes)} classes: those of the most boxes; the file has all")
    return lines
