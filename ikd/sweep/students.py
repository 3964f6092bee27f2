"""Which trials have left a student, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ikd.errors import BadInput
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.status import SweepStatus, trial_folder
from ikd.trial import TrialFolder

ENDED = ("finished", "stopped", "diverged")
"""States of a trial whose best epoch stays what it is; one that diverged was good before it did."""
_LISTED = 8


def ended_trial(status: SweepStatus, number: int) -> TrialRecord:
    """Return a trial that has ended with a result.

    Raises:
        BadInput: there is no such trial, or it has not; names those that have.
    """
    name, records = status.name, status.trials
    for record in records:
        if record.number != number:
            continue
        if record.state in ENDED:
            return record
        rule = f"trial must have ended with a result, but {number} is {record.state}"
        raise BadInput(f"sweep {name}: {rule}; {_choices(records)}")
    raise BadInput(f"sweep {name}: trial must be one of the sweep's, but got {number}; {_choices(records)}")


def checkpoint_of(status: SweepStatus, record: TrialRecord) -> Path:
    """Return the best.pth of a trial, fetched from an object store where it lies there.

    Raises:
        BadInput: it has none any more; names the trials that have.
    """
    home = status.directory.parents[1]
    best = trial_folder(status.name, record.number, home=home) / TrialFolder.BEST
    if not best.is_file():
        why = "only the best configurations keep their checkpoints (runner: keep_top)"
        raise BadInput(f"sweep {status.name}: trial {record.number} has no {best}: {why}; {_choices(status.trials)}")
    return best


def label(number: int, name: str) -> str:
    """Return a trial for people: `7 (host=mgd)`; only a sampled trial's name has the number in it."""
    rest = name.removeprefix(f"{number} ")
    return f"{number} ({rest})" if rest else str(number)


def _choices(records: Sequence[TrialRecord]) -> str:
    there = [one for one in records if one.state in ENDED and (one.directory / TrialFolder.BEST).is_file()]
    if not there:
        return "no trial of it has a student yet"
    listed = ", ".join(f"{label(record.number, record.name)}" for record in there[:_LISTED])
    rest = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"those that have a student: {listed}{rest}"
