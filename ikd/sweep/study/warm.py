"""Trials of other sweeps that this one's sampler learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ikd.config import Domain, Objective, SearchSpace, SweepFiles
from ikd.sweep.records.domains import as_chosen, contains
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.trial import COST, OPEN


def carried(
    name: str, records: Sequence[TrialRecord], began: SweepFiles, space: SearchSpace, *, lacking: bool
) -> list[dict[str, Any]]:
    """Return what a study keeps of another sweep's ended trials: those that are points of `space`, or of a part of it.

    A trial is a point when each parameter that exists under its values was set in it, to a value of its domain. One
    that was searched in other parameters lacks some: such a one has the value of that sweep's own recipe where its
    domain holds it, and else none; the trial is kept for the effects model where a value of it was searched in both.
    One with a searched value outside its domain here is left out. Fields that this space does not vary may have been
    anything: whether the old results still mean something is for the person to say who names the sweep.

    Args:
        name: of the other sweep.
        records: its trials.
        began: its files.
        space: of this sweep, resolved.
        lacking: keep those that lack parameters, too.
    """
    wanted = {space.objective.metric, *[f"{COST}{name}" for name in space.costs]}
    shared, kept = set(shared_parameters(began.space, space)), []
    for record in records:
        if record.state in OPEN or record.state == "failed" or not record.in_space:
            continue
        values = space.active(record.values)
        whole = _is_point(values, space)
        part = values if whole else _part(record, began, space) if lacking else None
        if part is None or not (whole or shared & set(part)):
            continue
        reports = {
            str(report.epoch): {name: value for name, value in report.metrics.items() if name in wanted}
            for report in record.reports
        }
        own = {"values": part, "state": record.state, "fingerprint": record.fingerprint, "reports": reports}
        kept.append({**own, "sweep": name, "whole": whole})
    return kept


def _is_point(values: Mapping[str, Any], space: SearchSpace) -> bool:
    exist = [name for name in space.ordered() if space.is_active(name, values)]
    return set(exist) == set(values) and all(contains(space.parameters[name], values[name]) for name in exist)


def _part(record: TrialRecord, began: SweepFiles, space: SearchSpace) -> dict[str, Any] | None:
    """Return the values that a trial had of parameters of `space`; None where a searched one is outside its domain."""
    part: dict[str, Any] = {}
    for name in space.ordered():
        domain = space.parameters[name]
        if not space.is_active(name, part):
            continue
        if name in record.values:
            if not contains(domain, value := as_chosen(domain, record.values[name])):
                return None
            part[name] = value
        elif name not in began.space.fields:  # else it did not exist in the trial
            value = as_chosen(domain, began.recipe.value(name))
            part |= {name: value} if contains(domain, value) else {}
    return part


def shared_parameters(one: SearchSpace, other: SearchSpace) -> list[str]:
    """Return the names of the parameters that both spaces vary, over ranges that overlap."""
    both = [(name, one.parameters[name], other.parameters[name]) for name in one.parameters if name in other.parameters]
    return [name for name, first, second in both if first.size > 1 and second.size > 1 and _overlap(first, second)]


def _overlap(one: Domain, other: Domain) -> bool:
    if one.choice is not None:
        return any(other.contains(as_chosen(other, value)) for value in one.choice)
    if other.choice is not None:
        return any(one.contains(value) for value in other.choice)
    (low, high), (least, most) = one.ends, other.ends
    return bool(max(low, least) <= min(high, most))


def earlier_records(kept: Sequence[Mapping[str, Any]], objective: Objective) -> list[TrialRecord]:
    """Return what `carried` kept as records, numbered from 0 and named by their sweeps, for the sampler alone."""
    records = []
    for number, one in enumerate(kept):
        reports = tuple(
            Report(int(epoch), metrics, 0.0, order) for order, (epoch, metrics) in enumerate(one["reports"].items())
        )
        record = TrialRecord(
            number,
            name=one.get("sweep", ""),
            anchors=(),
            values=one["values"],
            in_space=one.get("whole", True),
            fingerprint=one["fingerprint"],
            directory=Path(),
            state=one["state"],
        )
        records.append(record.with_reports(reports, objective))
    return records
