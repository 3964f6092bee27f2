"""The study: the one place where a sweep is written down. Everything else is rebuilt from it."""

from __future__ import annotations

import datetime
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ikd.config import Objective, SearchSpace
from ikd.sweep.records.trials import (
    ANCHOR_NAMES,
    Exploit,
    Proposal,
    Report,
    TrialRecord,
    worst_value,
)
from ikd.sweep.signals import StopNow
from ikd.sweep.study.distributions import distributions, point, quiet_optuna
from ikd.sweep.study.warm import earlier_records
from ikd.tracking import trial_name
from ikd.trial import State

_ENDS = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_REPORT = "report:"
_REOPEN = (
    "DELETE FROM trial_user_attributes WHERE trial_id = :trial AND key = 'end'",
    "UPDATE trials SET state = 'WAITING', datetime_complete = NULL WHERE trial_id = :trial AND state = 'FAIL'",
)


class StudyLost(StopNow):
    """The study cannot be written any more: nothing that happens from here on would be remembered."""


class SweepStudy:
    """Trials, reports and ends of one sweep. One process writes; any number read with `load`.

    Attributes:
        records: every trial in order of number, as written.
        earlier: trials of another sweep that the sampler learns from.
    """

    def __init__(
        self, storage: RDBStorage, name: str, folder: Path, *, objective: Objective, costs: Sequence[str] = ()
    ) -> None:
        self._storage, self._folder = storage, folder
        self._objective, self._costs = objective, tuple(costs)
        self._metric, self._mode = objective.metric, objective.mode
        try:
            self._id = storage.get_study_id_from_name(name)
        except KeyError:
            first = StudyDirection.MAXIMIZE if self._mode == "max" else StudyDirection.MINIMIZE
            with quiet_optuna():
                self._id = storage.create_new_study([first, *[StudyDirection.MINIMIZE] * len(self._costs)], name)
        self._ids: dict[int, int] = {}
        self.records: list[TrialRecord] = []
        self._open: list[FrozenTrial] = []  # as the last driver left them
        for frozen in sorted(storage.get_all_trials(self._id), key=lambda trial: trial.number):
            self._ids[frozen.number] = frozen._trial_id
            self.records.append(self._record(frozen))
            if not frozen.state.is_finished():
                self._open.append(frozen)
        self.earlier = earlier_records(self.notes.get("earlier", []), objective)
        self._order = 1 + max((report.order for record in self.records for report in record.reports), default=-1)

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted about the sweep as a whole."""
        return dict(self._storage.get_study_user_attrs(self._id))

    def note(self, key: str, value: Any) -> None:
        """Note something about the sweep as a whole."""
        self._write(self._storage.set_study_user_attr, self._id, key, value)

    def warm_up(self, names: Sequence[str], kept: list[dict[str, Any]]) -> None:
        """Note the trials of other sweeps (see `ikd.sweep.study.warm`)."""
        self.note("earlier", kept)
        self.note("warm_start", list(names))
        self.earlier = earlier_records(kept, self._objective)

    def _write(self, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        try:
            return call(*arguments, **keywords)
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError, sqlite3.Error, OSError) as error:
            cause = str(error.__cause__ or error).splitlines()[0]
            raise StudyLost(f"{self._folder}: the study cannot be written: {cause}") from error

    def add(self, proposal: Proposal, space: SearchSpace) -> TrialRecord:
        """Write a new trial, all of it in one transaction: a crash leaves either nothing or a trial that can run."""
        number = len(self.records)
        params = point(space, proposal.values) if proposal.in_space else {}
        shown = {field: value for field, value in proposal.values.items() if field not in space.followers}
        name = " = ".join(ANCHOR_NAMES[anchor] for anchor in proposal.anchors) or trial_name(number, shown)
        name = name if proposal.of is None else self._name_again(number, proposal)
        attributes: dict[str, Any] = {
            "name": name,
            "anchors": list(proposal.anchors),
            "values": dict(proposal.values),
            "in_space": proposal.in_space,
            "fingerprint": proposal.recipe.fingerprint(),
            "stage_ends": [stage.last for stage in proposal.recipe.stages],
            "role": proposal.role,
            "of": proposal.of,
            "kept": proposal.kept,
        }
        began = datetime.datetime.now()
        template = FrozenTrial(
            number=number,
            trial_id=-1,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=began,
            datetime_complete=None,
            params=params,
            distributions=distributions(space, list(params)),
            user_attrs=attributes,
            system_attrs={},
            intermediate_values={},
        )
        self._ids[number] = self._write(self._storage.create_new_trial, self._id, template_trial=template)
        record = TrialRecord(
            number,
            name=name,
            anchors=proposal.anchors,
            values=dict(proposal.values),
            in_space=proposal.in_space,
            fingerprint=attributes["fingerprint"],
            directory=self._folder / "trials" / str(number),
            stage_ends=tuple(attributes["stage_ends"]),
            proposed=dict(proposal.values),
            began=began.timestamp(),
            role=proposal.role,
            of=proposal.of,
            kept=proposal.kept,
        )
        self.records.append(record)
        return record

    def _name_again(self, number: int, proposal: Proposal) -> str:
        assert proposal.of is not None, "the search's own have names of their values"
        first = self.records[proposal.of]
        what = " = ".join(ANCHOR_NAMES[anchor] for anchor in first.anchors) or f"trial {first.number}"
        how = "again" if proposal.role == "repeat" else "kept apart"
        return f"{number} {what} {how}, seed {proposal.values['seed']}"

    def started(self, number: int) -> TrialRecord:
        """Count an attempt."""
        record = self.records[number]
        starts = (*record.starts, record.held)
        record = self._update(number, attempts=len(starts), starts=starts, state="running")
        self._set(number, "starts", starts)
        self._set_state(number, TrialState.RUNNING)
        return record

    def crashed(self, number: int) -> TrialRecord:
        """Count a dead attempt."""
        record = self._update(number, crashes=self.records[number].crashes + 1)
        self._set(number, "crashes", record.crashes)
        self._set(number, "held", record.held)
        return record

    def hold(self, number: int, seconds: float, *, write: bool = True) -> TrialRecord:
        """Count time for which a trial held a place of the runner; not written where something else is at once."""
        record = self._update(number, held=self.records[number].held + seconds)
        if write:
            self._set(number, "held", record.held)
        return record

    def report(
        self,
        number: int,
        epoch: int,
        metrics: Mapping[str, float],
        seconds: float,
        decide: Callable[[Sequence[TrialRecord]], Exploit | None] = lambda records: None,
    ) -> Report | None:
        """Write one validation; an epoch that is already written (trained again after a crash) changes nothing.

        Args:
            number: the trial.
            epoch: epochs finished.
            metrics: of the validation.
            seconds: of training, over all attempts.
            decide: given all records, this report included, returns what the trial goes on from. Both are written in
                one piece, so that no crash can part them.
        """
        record = self.records[number]
        if epoch <= record.epochs:
            return None
        report = Report(epoch, dict(metrics), seconds, self._order, record.held, time.time())
        self.records[number] = self._with_reports(record, (*record.reports, report))
        report = replace(report, exploit=decide(self.records))
        self._order += 1
        self._set(number, f"{_REPORT}{epoch}", _content(report))
        self._write_value(number, epoch, metrics.get(self._metric, math.nan))
        self.records[number] = self._with_reports(record, (*record.reports, report))
        return report

    def pause(self, number: int) -> TrialRecord:
        """Mark an interrupted trial; it goes on with the next start."""
        self._set(number, "held", self.records[number].held)
        self._set_state(number, TrialState.WAITING)
        return self._update(number, state="waiting")

    def end(self, number: int, state: State, reason: str, *, epoch: int | None = None) -> TrialRecord:
        """Write how a trial ended.

        Told to Optuna: finished is COMPLETE with what it counts with; stopped is PRUNED at its last value; diverged
        is PRUNED with the worst value, because the sampler ignores failures and would walk back; failed is FAIL.

        Args:
            number: the trial.
            state: its end.
            reason: for people.
            epoch: for diverged: where.
        """
        self._set(number, "held", self.records[number].held)
        end = {"state": state, "reason": reason, "epoch": epoch, "time": time.time()}
        self._set(number, "end", end)
        return self._close(number, end)

    def reopen(self, number: int) -> TrialRecord:
        """Open a failed trial again: it goes on with the next start, with all its retries, and keeps what it was.

        Optuna lets nobody change a trial that has ended, so its tables are written; all in one transaction.
        """
        record, identity = self.records[number], {"trial": self._ids[number]}
        failures = [*record.failures, record.reason]

        def write() -> None:
            with self._storage.engine.begin() as connection:
                for statement in _REOPEN:
                    connection.execute(text(statement), identity)

        self._write(write)
        self._set(number, "failures", failures)
        self._set(number, "crashes", 0)
        return self._update(number, state="waiting", reason="", ended=0.0, crashes=0, failures=tuple(failures))

    def reconcile(self) -> None:
        """Finish what a killed driver had begun: an end noted but not told, a report without its value."""
        for frozen in self._open:
            record = self.records[frozen.number]
            for report in record.reports:
                if report.epoch not in frozen.intermediate_values:
                    self._write_value(record.number, report.epoch, report.metrics.get(self._metric, math.nan))
            if (end := frozen.user_attrs.get("end")) is not None:
                self._close(record.number, end)

    def _close(self, number: int, end: Mapping[str, Any]) -> TrialRecord:
        record, state = self.records[number], end["state"]
        value = None
        if state == "diverged":
            self._write_value(number, end["epoch"] or record.epochs or 1, math.nan)
            value = worst_value(self._mode)
        elif state == "finished":
            assert record.metric is not None, "a finished trial has a result"
            value = record.metric
        elif state == "stopped" and record.reports:
            value = record.reports[-1].metrics.get(self._metric, math.nan)
        values = [value, *record.costs(self._costs)] if value is not None else [math.nan]
        self._set_state(number, _ENDS[state], values if all(map(math.isfinite, values)) else None)
        return self._update(number, state=state, reason=end["reason"], ended=end["time"])

    def _write_value(self, number: int, epoch: int, value: float) -> None:
        finite = value if math.isfinite(value) else worst_value(self._mode)
        self._write(self._storage.set_trial_intermediate_value, self._ids[number], epoch, finite)

    def _set(self, number: int, key: str, value: Any) -> None:
        self._write(self._storage.set_trial_user_attr, self._ids[number], key, value)

    def _set_state(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._write(self._storage.set_trial_state_values, self._ids[number], state, values)

    def _update(self, number: int, **changes: Any) -> TrialRecord:
        self.records[number] = replace(self.records[number], **changes)
        return self.records[number]

    def _with_reports(self, record: TrialRecord, reports: tuple[Report, ...]) -> TrialRecord:
        record = record.with_reports(reports, self._objective)
        exploits = tuple(report.exploit for report in reports if report.exploit is not None)
        if exploits:
            record = replace(record, values=exploits[-1].values, fingerprint=exploits[-1].fingerprint)
        return replace(
            record,
            exploits=exploits,
            held=max([record.held, *[report.held for report in reports]]),
            seconds=reports[-1].seconds if reports else 0.0,
        )

    def _record(self, frozen: FrozenTrial) -> TrialRecord:
        attributes = frozen.user_attrs
        end = attributes.get("end", {})
        state: State = "waiting" if frozen.state is TrialState.WAITING else "running"
        record = TrialRecord(
            number=frozen.number,
            name=attributes["name"],
            anchors=tuple(attributes["anchors"]),
            values=attributes["values"],
            in_space=attributes["in_space"],
            fingerprint=attributes["fingerprint"],
            directory=self._folder / "trials" / str(frozen.number),
            state=end.get("state", state),
            attempts=len(attributes.get("starts", ())),
            crashes=attributes.get("crashes", 0),
            reason=end.get("reason", ""),
            stage_ends=tuple(attributes.get("stage_ends", ())),
            held=attributes.get("held", 0.0),
            starts=tuple(attributes.get("starts", ())),
            proposed=attributes["values"],
            began=frozen.datetime_start.timestamp() if frozen.datetime_start else 0.0,
            ended=end.get("time", 0.0),
            failures=tuple(attributes.get("failures", ())),
            role=attributes.get("role", "search"),
            of=attributes.get("of"),
            kept=attributes.get("kept", 0),
        )
        reports = [
            _report(int(key.removeprefix(_REPORT)), value)
            for key, value in attributes.items()
            if key.startswith(_REPORT)
        ]
        return self._with_reports(record, tuple(sorted(reports, key=lambda report: report.epoch)))


def _content(report: Report) -> dict[str, Any]:
    content = {key: value for key, value in vars(report).items() if key not in ("epoch", "exploit")}
    return content | ({"exploit": vars(report.exploit)} if report.exploit is not None else {})


def _report(epoch: int, content: Mapping[str, Any]) -> Report:
    exploit = Exploit(**content["exploit"]) if "exploit" in content else None
    return Report(epoch, **{**content, "exploit": exploit})
