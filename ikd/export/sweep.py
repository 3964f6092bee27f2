"""The student of a sweep: which trial, and what the registry is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ikd.errors import BadInput
from ikd.export.export import export_student
from ikd.export.exported import Exported, SearchContext
from ikd.export.registering import check_register, register_student
from ikd.sweep import (
    SweepFolder,
    SweepStatus,
    TrialRecord,
    checkpoint_of,
    ended_trial,
    facts_of,
    is_tracked,
    knee,
    noted_data,
    sweep_status,
    track_files,
)
from ikd.trial import NotifyOf

Pick = int | Literal["best", "knee"]


def export_sweep(  # noqa: PLR0913 - one keyword for each option of `ikd export`
    name: str,
    destination: Path,
    *,
    pick: Pick = "best",
    home: Path | None = None,
    register: str | None = None,
    alias: str | None = None,
    force: bool = False,
    onnx: bool = False,
    data_root: Path | None = None,
    progress: NotifyOf | None = None,
) -> Exported:
    """Export the best student of a sweep; see `export_student`.

    Args:
        name: of the sweep.
        destination: a folder that is new, empty, or an earlier export.
        pick: `best` is the configuration from which most is expected; `knee`, for a space with costs, the one of the
            Pareto front nearest to the best of every objective; of both the training nearest to what is expected of it,
            never the luckiest. Or a trial's number.
        home: ikd's home; None is the usual one.
        register: name of a model in MLflow's registry that gets the student as its newest version.
        alias: of that model, which shall lead to this version; it stays where it is at a better one.
        force: move the alias though the student is worse than the version that has it, or cannot be compared.
        onnx: write student.onnx too.
        data_root: where the data set lies now, when that is not where the sweep found it at its last start.
        progress: told how many images the student was evaluated on.

    Raises:
        BadInput: no such sweep or trial, a trial without a result; names those that have one. No MLflow to register in,
            an alias without a model, or one that is at a better version.
        JobError: plain mmdet does not give the mAP recorded during training, or MLflow does not answer.
    """
    status = sweep_status(name, home=home)
    folder = SweepFolder(name, status.directory)
    check_register(folder, register, alias, force=force)
    records = list(status.trials)
    record = _picked(status, pick)
    best = checkpoint_of(status, record)
    values = dict(record.values)
    context = SearchContext(
        name, record.number, record.name, values, record.state, len(records), _facts(status, record)
    )
    recipe = status.recipe_of(record)
    if data_root is None and recipe.data.began_at is not None:
        data_root = Path(recipe.data.root)
    exported = export_student(
        best,
        destination,
        context=context,
        data_root=data_root,
        known=noted_data(status.notes, recipe),
        onnx=onnx,
        progress=progress,
    )
    if register is not None:
        made = register_student(exported, context, folder=folder, model=register, alias=alias, force=force)
        exported = replace(exported, registered=made.uri, alias=made.alias)
    if is_tracked(folder):
        track_files(folder, [exported.card, exported.card.with_suffix(".json")], "export")
    return exported


def parse_pick(text: str) -> Pick:
    """Read what a person writes for `pick`.

    Raises:
        BadInput: neither best nor knee nor a number.
    """
    if text == "best":
        return "best"
    if text == "knee":
        return "knee"
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadInput(f"--pick: must be best, knee or a trial's number, but got {text!r}")
    return int(text)


def _picked(status: SweepStatus, pick: Pick) -> TrialRecord:
    name, space = status.name, status.files.space
    if pick == "best":
        return status.winner
    if pick != "knee":
        return ended_trial(status, pick)
    if not space.costs:
        raise BadInput(f"sweep {name}: pick: knee needs a search space with costs, and this one has none; take best")
    known = status.standing
    if known is None or (found := knee(known)) is None:
        raise BadInput(f"sweep {name}: must have a finished trial with every cost measured, but has none yet")
    return known.training_of(found)


def _facts(status: SweepStatus, record: TrialRecord) -> dict[str, Any] | None:
    """Return what is believed of the configuration of a trial, with the three lines where it is the choice."""
    known = status.standing
    own = known.of(record) if known is not None else None
    if known is None or own is None:
        return None
    facts = facts_of(status.files.space, status.trials, known, own)
    return facts | {"said": status.said_of_choice() if facts["chosen"] else []}
