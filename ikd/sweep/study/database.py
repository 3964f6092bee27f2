"""Opening the database of a study."""

from __future__ import annotations

import contextlib
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from ikd.config import SweepFiles
from ikd.errors import BadInput
from ikd.sweep.study.folder import SweepFolder, check_identity, identity, read_files
from ikd.sweep.study.postgres import address, making_tables
from ikd.sweep.study.study import SweepStudy


def open_storage(folder: Path, store: str) -> RDBStorage:
    """Open the study's store: `sqlite` is study.db in `folder` with a write-ahead log, else a database URL.

    Raises:
        BadInput: the database cannot be reached or is none of ours.
    """
    arguments: dict[str, Any] = {}
    url = store if store == "sqlite" else address(store)
    if store == "sqlite":
        file = folder / "study.db"
        _use_write_ahead_log(file)
        url, arguments = f"sqlite:///{file}", {"connect_args": {"timeout": 60}}
    try:
        with warnings.catch_warnings(), making_tables(store):
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return RDBStorage(url, engine_kwargs=arguments)
    except BadInput:
        raise
    except Exception as error:  # SQLAlchemy and the driver raise many kinds
        # The URL may hold a password, so the text of the error is cut to its first line and the URL is not shown.
        place = str(folder / "study.db") if store == "sqlite" else "runner study"
        raise BadInput(f"{place}: cannot open the study: {str(error).splitlines()[0]}") from error


def _use_write_ahead_log(file: Path) -> None:
    try:
        connection = sqlite3.connect(file, timeout=60)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise BadInput(f"{file}: must be the study of a sweep, but is no SQLite file ({error})") from error


def open_study(folder: SweepFolder, files: SweepFiles, *, create: bool = False) -> SweepStudy:
    """Open the study of a sweep.

    Args:
        folder: of the sweep.
        files: of the sweep.
        create: make it where it is not there, and note whose it is; for the driver, which alone may write.

    Raises:
        BadInput: it is not there, or, with `create`, is of another space or recipe.
    """
    if not create and files.runner.study == "sqlite" and not (folder.path / "study.db").is_file():
        raise BadInput(f"{folder.path / 'study.db'}: must be the study of sweep {folder.name}, but is not there")
    objective, costs = files.space.objective, files.space.costs
    storage = open_storage(folder.path, files.runner.study)
    try:
        study = SweepStudy(storage, folder.name, folder.path, objective=objective, costs=costs)
    except (KeyError, TypeError) as error:  # another version's attributes, or somebody else's trials
        rule = f"must be what ikd wrote of this sweep, but a trial of it cannot be read ({error})"
        place = folder.path / "study.db" if files.runner.study == "sqlite" else "runner study"
        raise BadInput(f"{place}: {rule}; another version of ikd may read it") from error
    if create and "identity" not in study.notes:
        study.note("identity", identity(files))
    elif create:
        check_begun(study, folder, files)
    return study


def check_begun(study: SweepStudy, folder: SweepFolder, files: SweepFiles) -> None:
    """Refuse to go on with a sweep under another space or recipe than it began with.

    Raises:
        BadInput: names each field that changed.
    """
    noted = study.notes.get("identity")
    if noted is None:
        return
    before = None
    with contextlib.suppress(BadInput):  # it only helps to name what changed
        before = read_files(folder).recipe
    both = (before, files.recipe) if before is not None else None
    check_identity(folder.name, noted, identity(files), both)
