"""A student, and the teacher that it is compared with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.config import Recipe, load_recipe
from ikd.data import DataFiles, DataRecord, indexed
from ikd.errors import BadInput, refuse
from ikd.pictures import anywhere, files_as_noted
from ikd.sweep import checkpoint_of, ended_trial, noted_data, sweep_status

STUDENT, RECIPE, CARD = "student.pth", "recipe.yaml", "card.json"
"""Files of an exported student that are read; see `ikd.export`."""


@dataclass(frozen=True)
class Pair:
    """A student and its teacher, and the data that both are looked at on.

    Attributes:
        name: of the student, for people: `trial 3 of mine`, or the name of an export's folder.
        recipe: of the student; runs on whatever this machine has.
        checkpoint: weights of the student.
        files: data of the recipe; the validation part is not empty.
        teaching: recipe that has the teacher.
        teacher_name: its name there.
    """

    name: str
    recipe: Recipe
    checkpoint: Path
    files: DataFiles
    teaching: Recipe
    teacher_name: str

    @property
    def about(self) -> dict[str, str]:
        """Who is compared on what, for the JSON file of an analysis."""
        return {"student": self.name, "teacher": self.teacher_name, "data": str(self.files.val)}

    def student(self) -> Any:
        """Return the student, frozen, on its device.

        Raises:
            CheckpointError: its weights are of another architecture or of other classes.
        """
        from ikd.training import device_of, load_teacher  # slow: a wrong name is told before

        return load_teacher(self.recipe.student, self.checkpoint, self.files.classes).to(device_of(self.recipe))

    def teacher(self) -> Any:
        """Return the teacher, frozen, on its device.

        Raises:
            BadInput: it is not, or no longer, there.
            CheckpointError: its weights are of another architecture or of other classes.
        """
        from ikd.training import device_of, load_teacher, weights_there

        weights = weights_there(self.teaching, self.teacher_name, self.files)
        detector = self.teaching.teachers.available[self.teacher_name]
        if detector.classes == "own":
            field = f"teachers.available.{self.teacher_name}.classes"
            refuse(field, "must be those of the data set for an analysis, which compares predictions", "own")
        return load_teacher(detector, weights, self.files.classes).to(device_of(self.recipe))


def find_pair(
    student: str,
    trial: int | None = None,
    *,
    teacher: str | None = None,
    data_root: Path | None = None,
    home: Path | None = None,
) -> Pair:
    """Find a student and its teacher.

    Args:
        student: folder of an exported student, or with `trial` the name of a sweep.
        trial: number of a trial that has left a student.
        teacher: which of its recipe's `teachers.available`; None is the last of `teachers.sequence`, of the trial or,
            where that was trained alone, of the sweep.
        data_root: where the data set lies now, when that is not where the recipe says.
        home: ikd's home; None is the usual one.

    Raises:
        BadInput: no such export, sweep or trial, no student in it, no teacher, data that are not there, are others, or
            have no photograph to look at; names what would be right.
    """
    if trial is not None:
        return _of_trial(student, trial, teacher=teacher, data_root=data_root, home=home)
    folder = Path(student).expanduser()
    for name in (STUDENT, RECIPE):
        if not (folder / name).is_file():
            hint = f"a trial of a sweep needs its number: {student} 0"
            raise BadInput(f"{folder}: must be a folder of `ikd export`, but {name} is not in it; {hint}")
    recipe = _moved(load_recipe(str(folder / RECIPE)), data_root)
    files = DataFiles.of(recipe)
    _check_known(folder / CARD, files)
    return _pair(folder.resolve().name, recipe, folder / STUDENT, files, recipe, teacher)


def _of_trial(name: str, number: int, *, teacher: str | None, data_root: Path | None, home: Path | None) -> Pair:
    status = sweep_status(name, home=home)
    record = ended_trial(status, number)
    checkpoint = checkpoint_of(status, record)
    noted = status.recipe_of(record)
    known: DataRecord | None = noted_data(status.notes, noted)
    recipe = _moved(noted, data_root)
    files = files_as_noted(recipe, known)
    base = status.files.recipe
    teaching = recipe if recipe.teachers.sequence else _moved(base, data_root)
    return _pair(f"trial {number} of {name}", recipe, checkpoint, files, teaching, teacher)


def _moved(recipe: Recipe, data_root: Path | None) -> Recipe:
    return recipe if data_root is None else recipe.at(str(data_root.expanduser().absolute()))


def _check_known(card: Path, files: DataFiles) -> None:
    """Refuse other data than those that the card of an export names."""
    try:
        known = json.loads(card.read_text(encoding="utf-8"))["data"]["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # the card is for people: a student without it is one still
    if known != files.fingerprint():
        rule = "must be the data set that the student was trained and validated on, which has the fingerprint"
        hint = "say with --data-root where that lies now"
        raise BadInput(f"{files.train} and {files.val}: {rule} {known}, but got {files.fingerprint()}; {hint}")


def _pair(name: str, recipe: Recipe, checkpoint: Path, files: DataFiles, teaching: Recipe, teacher: str | None) -> Pair:
    if not len(indexed(files.val)):
        raise BadInput(f"{files.val}: images: must hold a photograph to look at, but there is none")
    return Pair(name, anywhere(recipe), checkpoint, files, teaching, _teacher_name(teaching, teacher))


def _teacher_name(recipe: Recipe, wanted: str | None) -> str:
    have = ", ".join(recipe.teachers.available) or "none"
    if wanted is None and not recipe.teachers.sequence:
        rule = "must name the teacher to compare with, but the student was trained alone"
        raise BadInput(f"recipe {recipe.name}: teachers.sequence: {rule}; say which with --teacher (there is: {have})")
    name = wanted if wanted is not None else recipe.teachers.stages[-1].teacher
    if name not in recipe.teachers.available:
        raise BadInput(f"--teacher: must be one of the recipe's teachers.available ({have}), but got {name!r}")
    return name
