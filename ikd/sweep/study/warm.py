"""Trials of another sweep that this one's sampler learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ikd.config import Objective, SearchSpace
from ikd.sweep.records.domains import contains
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.trial import COST, OPEN


def carried(records: Sequence[TrialRecord], space: SearchSpace) -> list[dict[str, Any]]:
    """Return what a study keeps of another sweep's ended trials: those that are points of `space`.

    A trial is one when each parameter that exists under its values was set in it, to a value of its domain. Fields that
    this space does not vary may have been anything: whether the old results still mean something is for the person to
    say who names the sweep.
    """
    wanted = {space.objective.metric, *[f"{COST}{name}" for name in space.costs]}
    kept = []
    for record in records:
        values = space.active(record.values)
        if record.state in OPEN or record.state == "failed" or not _is_point(values, space):
            continue
        reports = {
            str(report.epoch): {name: value for name, value in report.metrics.items() if name in wanted}
            for report in record.reports
        }
        kept.append({"values": values, "state": record.state, "fingerprint": record.fingerprint, "reports": reports})
    return kept


def _is_point(values: Mapping[str, Any], space: SearchSpace) -> bool:
    exist = [name for name in space.ordered() if space.is_active(name, values)]
    return set(exist) == set(values) and all(contains(space.parameters[name], values[name]) for name in exist)


def earlier_records(kept: Sequence[Mapping[str, Any]], objective: Objective) -> list[TrialRecord]:
    """Return what `carried` kept as records, numbered from 0, for the sampler alone."""
    records = []
    for number, one in enumerate(kept):
        reports = tuple(
            Report(int(epoch), metrics, 0.0, order) for order, (epoch, metrics) in enumerate(one["reports"].items())
        )
        record = TrialRecord(
            number,
            name="",
            anchors=(),
            values=one["values"],
            in_space=True,
            fingerprint=one["fingerprint"],
            directory=Path(),
            state=one["state"],
        )
        records.append(record.with_reports(reports, objective))
    return records
