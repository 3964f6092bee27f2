"""The student of a sweep: which trial, and what the registry is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml

from ikd.config import Runner
from ikd.errors import BadInput
from ikd.export.export import export_student
from ikd.export.exported import Exported, SearchContext, label
from ikd.sweep import TrialRecord, best_trial, knee, sweep_status, trial_folder, trials_of
from ikd.tracking import register_best

Pick = int | Literal["best", "knee"]
_ENDED = ("finished", "stopped", "diverged")
"""States of a trial whose best epoch stays what it is; one that diverged was good before it did."""


def export_sweep(
    name: str,
    destination: Path,
    *,
    pick: Pick = "best",
    home: Path | None = None,
    register: str | None = None,
    onnx: bool = False,
    data_root: Path | None = None,
) -> Exported:
    """Export the best student of a sweep; see `export_student`.

    Args:
        name: of the sweep.
        destination: a folder that is new, empty, or an earlier export.
        pick: `best` in the objective; `knee`, for a space with costs: the trial of the Pareto front nearest to the best
            of every objective; or a trial's number.
        home: ikd's home; None is the usual one.
        register: name of a model in MLflow's registry that gets the student as its newest version.
        onnx: write student.onnx too.
        data_root: where the data set lies now, when that is not where the recipe says.

    Raises:
        BadInput: no such sweep or trial, a trial without a result; names those that have one. No MLflow to register in.
        JobError: plain mmdet does not give the mAP recorded during training, or MLflow does not answer.
    """
    records = trials_of(name, home=home)
    record = _picked(name, records, pick, home)
    best = trial_folder(name, record.number, home=home) / "best.pth"
    if not best.is_file():
        why = "only the best trials keep their checkpoints (runner: keep_top)"
        raise BadInput(f"sweep {name}: trial {record.number} has no {best}: {why}; {_choices(records)}")
    runner = _runner_to_register_in(_folder(record)) if register is not None else None
    values = dict(record.values)
    context = SearchContext(name, record.number, record.name, values, record.state, len(records))
    exported = export_student(best, destination, context=context, data_root=data_root, onnx=onnx)
    if runner is None or register is None:
        return exported
    return _registered(exported, record, runner, model=register)


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


def _picked(
    name: str, records: list[TrialRecord], pick: Pick, home: Path | None
) -> TrialRecord:  # fmt: skip
    if pick == "best":
        return best_trial(name, home=home)
    if pick != "knee":
        return _chosen(name, records, pick)
    space = sweep_status(name, home=home).files.space
    if not space.costs:
        raise BadInput(f"sweep {name}: pick: knee needs a search space with costs, and this one has none; take best")
    if (found := knee(records, space)) is None:
        raise BadInput(f"sweep {name}: must have a finished trial with every cost measured, but has none yet")
    return found


def _chosen(name: str, records: list[TrialRecord], number: int) -> TrialRecord:
    for record in records:
        if record.number != number:
            continue
        if record.state in _ENDED:
            return record
        raise BadInput(f"sweep {name}: trial must have ended with a result, but {number} is {record.state}; "
                       f"{_choices(records)}")  # fmt: skip
    raise BadInput(f"sweep {name}: trial must be one of the sweep's, but got {number}; {_choices(records)}")


def _choices(records: list[TrialRecord]) -> str:
    there = [record for record in records if record.state in _ENDED and (record.directory / "best.pth").is_file()]
    if not there:
        return "no trial of it can be exported yet"
    listed = ", ".join(f"{label(record.number, record.name)}" for record in there[:8])
    return f"those that can be exported: {listed}" + (f" and {len(there) - 8} more" if len(there) > 8 else "")


def _folder(record: TrialRecord) -> Path:
    return record.directory.parents[1]  # SWEEP/trials/NUMBER


def _runner_to_register_in(folder: Path) -> Runner:
    """Return the sweep's runner; refused before the export when it has no MLflow.

    Raises:
        BadInput: the sweep ran without a tracker.
    """
    file = folder / "sweep.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))["runner"]
        runner = Runner.model_validate_json(json.dumps(content))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BadInput(f"{file}: must be the sweep's own files, but: {str(error).splitlines()[0]}") from error
    if runner.tracking.uri == "none":
        raise BadInput(f"{file}: runner.tracking.uri: must name an MLflow server to register in, but got 'none'")
    return runner


def _registered(exported: Exported, record: TrialRecord, runner: Runner, *, model: str) -> Exported:
    folder = _folder(record)
    made = register_best(
        exported.directory,
        uri=runner.tracking.uri,
        home=folder.parents[1],  # HOME/sweeps/NAME
        sweep=folder,
        number=record.number,
        model=model,
        experiment=runner.tracking.experiment,
    )
    return replace(exported, registered=made.uri)
