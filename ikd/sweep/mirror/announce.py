"""What a tracker is told of a sweep as a whole."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ikd.config import SearchSpace, SweepFiles
from ikd.files import write_text
from ikd.sweep.confirm.standing import Standing, standing
from ikd.sweep.mirror.figures import BEST, GAIN, VALUE
from ikd.sweep.mirror.params import LOG
from ikd.sweep.mirror.story import story
from ikd.sweep.records.ledger import ledger
from ikd.sweep.records.text import readable
from ikd.sweep.records.trials import TrialRecord, shown_anchors
from ikd.sweep.study.folder import SweepFolder
from ikd.sweep.study.study import SweepStudy
from ikd.sweep.view.ranking import choice_lines
from ikd.tracking import Page, Tracker, environment_tags, hide_password
from ikd.trial import TrialFolder

FILES = "tracked"
"""Folder in the sweep's: what its run gets beside figures, without passwords."""
REPORT = "report.html"
"""In the sweep's folder, where somebody has made it."""


def announce(
    tracker: Tracker,
    files: SweepFiles,
    folder: SweepFolder,
    study: SweepStudy,
    fingerprint: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Tell a tracker about the sweep as a whole.

    Args:
        tracker: to whom.
        files: of the sweep.
        folder: of the sweep.
        study: of the sweep.
        fingerprint: of the data, where it is known.
        environment: `environment_tags`, where somebody has asked for them already.
    """
    own = environment_tags() if environment is None else environment
    tags: dict[str, Any] = {**own, "recipe": files.recipe.as_dict(), "recipe_name": files.recipe.name}
    tags |= {"mlflow.user": user(), "mlflow.source.name": f"ikd sweep {folder.name}", "mlflow.source.type": "LOCAL"}
    tags |= {"directory": str(folder.path), "metric": files.space.objective.metric, "role": "sweep"}
    tags |= {"trials": str(files.space.budget.trials)}  # no parameter, whose first value stays: a sweep may be extended
    if fingerprint is not None:
        tags["data_fingerprint"] = fingerprint
    known = standing(files.space, files.recipe, study.records, earlier=study.earlier) if study.records else None
    if study.records:
        tags |= {"ledger": ledger(study.records).render(files.runner.trial.gpus)}
        tags |= _tags_of_choice(files.space, study.records, known) if known is not None else {}
    params: dict[str, object] = {"epochs": files.recipe.total_epochs, "seed": files.space.seed}
    params |= {f"space.{name}": _domain_text(files.space, name) for name in files.space.parameters}
    page = page_of(folder.name, files, study.records, known)
    tracker.start_sweep(folder.name, tags=tags, params=params, page=page)


def user() -> str:
    """Return who writes: the name at the tracking server, or the one on this machine."""
    if name := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())


def page_of(name: str, files: SweepFiles, records: Sequence[TrialRecord], known: Standing | None) -> Page:
    """Return how a sweep is shown.

    Args:
        name: of the sweep.
        files: of it.
        records: every trial.
        known: of them.
    """
    space, objective = files.space, files.space.objective
    every = [one for one in space.parameters if not space.parameters[one].when]
    logarithmic = [one for one, own in space.parameters.items() if own.log_uniform or own.log_int]
    return Page(
        description=story(name, files, records, known),
        order_by=VALUE,
        rising=objective.mode == "max",
        objective=objective.metric,
        metrics=(
            VALUE,
            f"{BEST}{objective.metric}",
            *(f"{GAIN}{anchor}" for anchor in shown_anchors(records, objective.mode) or space.anchors),
        ),
        params=tuple(space.parameters),
        tags=("role", "choice", "ikd.state"),
        axes=tuple(one + LOG if one in logarithmic else one for one in every),
    )


def files_of(files: SweepFiles, folder: SweepFolder) -> list[Path]:
    """Write recipe, space and runner into the sweep's folder for its run, without passwords; return these files.

    The report of the sweep is one of them, where there is one.
    """
    contents = {
        "recipe": files.recipe.as_dict(),
        "space": files.space.model_dump(mode="json", by_alias=True),
        "runner": files.runner.model_dump(mode="json"),
    }
    place = folder.path / FILES
    place.mkdir(exist_ok=True)
    made = []
    for name, content in contents.items():
        made.append(place / f"{name}.yaml")
        write_text(made[-1], hide_password(yaml.safe_dump(content, sort_keys=False, allow_unicode=True)))
    report = folder.path / REPORT
    return [*made, *([report] if report.is_file() else [])]


def give_files(tracker: Tracker, files: SweepFiles, folder: SweepFolder, records: Sequence[TrialRecord]) -> None:
    """Give a tracker the pictures of trials, and the files of the sweep; see `files_of`."""
    for record in records:
        if (pictures := TrialFolder(record.directory).pictures).is_dir():
            tracker.log_artifacts(record.number, pictures, pictures.name)
    for file in files_of(files, folder):
        tracker.log_artifacts(None, file)


def _tags_of_choice(space: SearchSpace, records: Sequence[TrialRecord], known: Standing) -> dict[str, str]:
    """Return the three lines as tags, and the number of the training that is exported."""
    lines = choice_lines(space, records, known)
    return dict(zip(("chosen", "gain", "best_seen"), lines, strict=True)) | {"exported": str(known.training.number)}


def _domain_text(space: SearchSpace, name: str) -> str:
    domain = space.parameters[name].model_dump(mode="json", by_alias=True)
    if domain["choice"]:
        domain["choice"] = f"[{', '.join(readable(value, name) for value in domain['choice'])}]"
    return ", ".join(f"{key} {value}" for key, value in domain.items() if value)
