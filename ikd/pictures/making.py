"""All pictures of one trial, made whole or not at all."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ikd.config import Recipe, Teacher
from ikd.data import DataFiles, DataRecord, indexed, told_when_lost
from ikd.errors import BadInput, IkdError, first_line
from ikd.files import sha256, whole_folder
from ikd.pictures.asked import anywhere, files_as_noted
from ikd.pictures.batch import write_batch
from ikd.pictures.charts import write_ap, write_pr
from ikd.pictures.confusion import confusion, of_detector, of_truth, write_confusion
from ikd.pictures.detections import write_detections
from ikd.pictures.folder import DETECTIONS, FORMAT, MEASURES
from ikd.pictures.judged import Judged, Truths, judged
from ikd.pictures.masks import mask_reader
from ikd.pictures.style import drawing, plain
from ikd.training import device_of, load_teacher, weights_there
from ikd.trial import NotifyOf, TrialFolder

_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True)
class Pictured:
    """Pictures of a trial.

    Attributes:
        folder: that holds them.
        missing: what could not be made, a line each.
    """

    folder: Path
    missing: tuple[str, ...] = ()


@dataclass
class Painter:
    """Makes pictures of trials; what it finds of a teacher serves the next trial of the same teacher."""

    _teachers: dict[tuple[Any, ...], Judged] = field(default_factory=dict)

    def paint(
        self,
        recipe: Recipe,
        checkpoint: Path,
        *,
        base: Recipe | None = None,
        known: DataRecord | None = None,
        progress: NotifyOf | None = None,
    ) -> Pictured:
        """Make all pictures of a trial in `pictures` beside its checkpoint; those that are there are replaced.

        Args:
            recipe: of the trial.
            checkpoint: its best.pth.
            base: recipe whose last teacher is compared with where the trial has none of its own.
            known: what the student was trained and validated on, where that was noted; other data are refused.
            progress: told what is done, and how much of it.

        Raises:
            BadInput: data or weights that are not there or do not fit; nothing has changed then.
            DataGone: the data set has vanished meanwhile; likewise.
            DiskFull: likewise.
        """
        files = files_as_noted(recipe, known)
        _remove_abandoned(checkpoint.parent)
        target = TrialFolder(checkpoint.parent).pictures
        with told_when_lost(recipe), drawing(), whole_folder(target, replace=True) as folder:
            missing = self._paint(folder, recipe, checkpoint, base=base or recipe, files=files, progress=progress)
        return Pictured(target, tuple(missing))

    def _paint(
        self,
        folder: Path,
        recipe: Recipe,
        checkpoint: Path,
        *,
        base: Recipe,
        files: DataFiles,
        progress: NotifyOf | None,
    ) -> list[str]:
        told = partial(progress, "student on the validation part") if progress else None
        detector = load_teacher(recipe.student, checkpoint, files.classes).to(device_of(anywhere(recipe)))
        student = judged(detector, recipe, files, told)
        masks = mask_reader(detector, recipe, files)
        del detector
        teacher, missing = self._teacher(recipe if recipe.teachers.sequence else base, files, progress)
        if progress is not None:
            progress("drawing", 0, 1)
        names = write_detections(folder / DETECTIONS, recipe, files, student, teacher, masks)
        write_charts(folder, files, student, teacher)
        try:
            missing += write_batch(folder / "batch.jpg", anywhere(recipe), files)
        except (IkdError, OSError) as error:
            missing.append(f"batch.jpg: {first_line(error)}")
        content = {
            "student": student.measures(),
            "teacher": teacher[1].measures() if teacher is not None else None,
            "images": names,
            "teacher_name": teacher[0] if teacher is not None else None,
            "least_score": {"student": student.least, "teacher": teacher[1].least if teacher is not None else None},
            "missing": missing,
            "checkpoint": sha256(checkpoint),
            "format": FORMAT,
        }
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / MEASURES).write_text(text + "\n", encoding="utf-8")
        return missing

    def _teacher(
        self, recipe: Recipe, files: DataFiles, progress: NotifyOf | None
    ) -> tuple[tuple[str, Judged] | None, list[str]]:
        """Return name and figures of the last teacher, and what is to be said where it cannot be looked at."""
        if not recipe.teachers.sequence:
            return None, []
        name = recipe.teachers.stages[-1].teacher
        try:
            return (name, self._judged_teacher(recipe, name, files, progress)), []
        except (IkdError, OSError) as error:
            return None, [f"without the teacher: {first_line(error)}"]

    def _judged_teacher(self, recipe: Recipe, name: str, files: DataFiles, progress: NotifyOf | None) -> Judged:
        teacher: Teacher = recipe.teachers.available[name]
        if teacher.classes == "own":
            raise BadInput(f"teacher {name} knows other classes than the data set (classes: own)")
        weights = weights_there(recipe, name, files)
        size = (recipe.input.scale, recipe.input.keep_ratio, recipe.data.orientation)
        key = (teacher.model_dump_json(), str(weights), files.val, files.fingerprint(), size, recipe.device)
        if key not in self._teachers:
            told = partial(progress, f"teacher {plain(name)} on the validation part") if progress else None
            detector = load_teacher(teacher, weights, files.classes).to(device_of(anywhere(recipe)))
            self._teachers.clear()  # one at a time in memory
            self._teachers[key] = judged(detector, recipe, files, told)
        return self._teachers[key]


def write_charts(folder: Path, files: DataFiles, student: Judged, teacher: tuple[str, Judged] | None) -> None:
    """Draw ap.png, pr.png and the confusions of a student, against the truth and against its teacher.

    Args:
        folder: where to.
        files: of the data.
        student: on the validation part.
        teacher: its name and how it does there; None leaves it out.
    """
    index = indexed(files.val)
    classes = index.classes
    counts = np.bincount(index.labels[~index.set_aside], minlength=len(classes)).tolist()
    write_ap(folder / "ap.png", classes, counts, student, teacher)
    write_pr(folder / "pr.png", classes, counts, student, teacher)
    truths = [Truths.of(index, place) for place in range(len(index))]
    pairs = list(zip(student.images, truths, strict=True))
    found = [of_detector(one, student.least, own) for one, own in pairs]
    matrix = confusion([of_truth(one) for one in truths], found, len(classes))
    note = "IoU 0.50 or more, whatever the class"
    write_confusion(folder / "confusion.png", matrix, classes, reference="truth", least=student.least, note=note)
    if teacher is None:
        return
    name, judged_teacher = teacher
    seen = [of_detector(one, judged_teacher.least, own) for one, own in zip(judged_teacher.images, truths, strict=True)]
    matrix = confusion(seen, found, len(classes))
    reference = f"teacher {plain(name)}"
    note += f"; the teacher's boxes of score {100 * judged_teacher.least:.0f} or more"
    target = folder / "confusion_teacher.png"
    write_confusion(target, matrix, classes, reference=reference, least=student.least, note=note)


def _remove_abandoned(trial: Path) -> None:
    """Remove what a killed process has left half made."""
    for left in trial.glob(f".{TrialFolder(trial).pictures.name}.*.partial"):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
