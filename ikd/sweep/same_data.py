"""Whether a sweep still finds the data it began with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ikd.config import Recipe, SweepFiles
from ikd.data import DataFiles, DataRecord
from ikd.errors import refuse
from ikd.home import at_home
from ikd.sweep.study.study import SweepStudy
from ikd.sweep.training import OWN, data_of
from ikd.trial import OPEN

NOTE, FINGERPRINT = "data", "data_fingerprint"
"""Notes of the study: records by training part, which a space may vary, and the hash that stood for them before."""
HINT = "put it back as it was, and the same command goes on; or give the new data a sweep of its own (--name)"


def part_name(recipe: Recipe) -> str:
    """Return what tells the training parts of one sweep apart."""
    return json.dumps(recipe.data.train.model_dump(mode="json"), sort_keys=True)


def changed_data(study: SweepStudy, part: str, record: DataRecord) -> str:
    """Compare data with what the sweep has noted of them, and note them if it has not; say what is otherwise.

    Args:
        study: of the sweep.
        part: see `part_name`.
        record: what the data show now.

    Returns:
        Nothing where a trial may start or go on.
    """
    noted = study.notes.get(NOTE, {})
    if part in noted:
        return "; ".join(record.changes_since(DataRecord.of(noted[part])))
    before = study.notes.get(FINGERPRINT)
    if not noted and before not in (None, record.fingerprint):
        return "images, boxes or names of classes are not what they were"
    study.note(NOTE, noted | {part: record.as_dict()})
    if before is None:
        study.note(FINGERPRINT, record.fingerprint)
    return ""


def has_begun_with(study: SweepStudy, part: str) -> bool:
    """Tell whether a trial of the sweep has found these data; see `part_name`."""
    noted = study.notes.get(NOTE, {})
    return part in noted or (not noted and study.notes.get(FINGERPRINT) is not None)


def check_same_data(study: SweepStudy, files: SweepFiles, training: str, home: Path) -> None:
    """Refuse to go on with a sweep whose data are no longer what its trials were trained and validated on.

    Args:
        study: of the sweep.
        files: of the sweep.
        training: module that trains.
        home: the ikd home of the sweep.

    Raises:
        BadInput: names the files, and what has changed; nothing was written.
    """
    parts = study.notes.get(NOTE, {})
    before = study.notes.get(FINGERPRINT)
    moved_from = files.recipe.data.began_at
    if not parts and before is None:
        if moved_from is not None:
            rule = f"must be {moved_from}, where the sweep began: of its content nothing is noted to compare"
            refuse(f"recipe {files.recipe.name}: data.root", rule, files.recipe.data.root, "put the data set there")
        return
    if moved_from is None and not _has_work(study, files):
        return
    with at_home(home):
        for part in parts or [part_name(files.recipe)]:
            recipe = files.recipe.with_values({"data.train": json.loads(part)})
            if change := changed_data(study, part, data_of(training, recipe)):
                refuse(where_of(training, recipe), "must be the data set that this sweep began with", change, HINT)


def noted_data(notes: Mapping[str, Any], recipe: Recipe) -> DataRecord | None:
    """Return what the trials of a recipe were trained and validated on; None in a study of before that was noted."""
    content = notes.get(NOTE, {}).get(part_name(recipe))
    return None if content is None else DataRecord.of(content)


def where_of(training: str, recipe: Recipe) -> str:
    """Return the annotation files of a recipe for people."""
    if training != OWN:
        return f"recipe {recipe.name}: data"
    found = DataFiles.of(recipe)
    return f"{found.train} and {found.val}"


def _has_work(study: SweepStudy, files: SweepFiles) -> bool:
    return len(study.records) < files.space.budget.trials or any(one.state in OPEN for one in study.records)
