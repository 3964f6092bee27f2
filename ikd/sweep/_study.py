"""The study: the one place where a sweep is written down. Everything else is rebuilt from it."""

from __future__ import annotations

import datetime
import math
import sqlite3
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ikd.config import SearchSpace
from ikd.errors import BadInput
from ikd.sweep._domains import distributions, point
from ikd.sweep._records import Report, State, TrialRecord, best_report, worst_value
from ikd.sweep._sampling import Proposal, quiet_optuna, sampled_name
from ikd.tracking import trial_name

_ENDS = {
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
_REPORT = "report:"


def open_storage(folder: Path, store: str) -> RDBStorage:
    """Open the study's store: `sqlite` is study.db in `folder` with a write-ahead log, else a database URL.

    Raises:
        BadInput: the database cannot be reached or is none of ours.
    """
    arguments: dict[str, Any] = {}
    url = store
    if store == "sqlite":
        file = folder / "study.db"
        _use_write_ahead_log(file)
        url, arguments = f"sqlite:///{file}", {"connect_args": {"timeout": 60}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return RDBStorage(url, engine_kwargs=arguments)
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


class SweepStudy:
    """Trials, reports and ends of one sweep. One process writes; any number read with `load`.

    Attributes:
        records: every trial in order of number, as written.
    """

    def __init__(self, storage: RDBStorage, name: str, folder: Path, *, metric: str, mode: str) -> None:
        self._storage, self._folder = storage, folder
        self._metric, self._mode = metric, mode
        try:
            self._id = storage.get_study_id_from_name(name)
        except KeyError:
            direction = StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE
            with quiet_optuna():
                self._id = storage.create_new_study([direction], name)
        self._ids: dict[int, int] = {}
        self.records: list[TrialRecord] = []
        for frozen in sorted(storage.get_all_trials(self._id), key=lambda trial: trial.number):
            self._ids[frozen.number] = frozen._trial_id
            self.records.append(self._record(frozen))
        self._order = 1 + max((report.order for record in self.records for report in record.reports), default=-1)

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted about the sweep as a whole."""
        return dict(self._storage.get_study_user_attrs(self._id))

    def note(self, key: str, value: Any) -> None:
        """Note something about the sweep as a whole."""
        self._storage.set_study_user_attr(self._id, key, value)

    def add(self, proposal: Proposal, space: SearchSpace) -> TrialRecord:
        """Write a new trial, all of it in one transaction: a crash leaves either nothing or a trial that can run."""
        number = len(self.records)
        params = point(space, proposal.values) if proposal.in_space else {}
        shown = {field: value for field, value in proposal.values.items() if field not in space.followers}
        name = sampled_name(proposal.anchors) or trial_name(number, shown)
        attributes: dict[str, Any] = {
            "name": name,
            "anchors": list(proposal.anchors),
            "values": dict(proposal.values),
            "in_space": proposal.in_space,
            "fingerprint": proposal.recipe.fingerprint(),
            "stage_ends": [stage.last for stage in proposal.recipe.stages],
        }
        template = FrozenTrial(
            number=number, trial_id=-1, state=TrialState.RUNNING, value=None, datetime_start=datetime.datetime.now(),
            datetime_complete=None, params=params, distributions=distributions(space, list(params)),
            user_attrs=attributes, system_attrs={}, intermediate_values={},
        )  # fmt: skip
        self._ids[number] = self._storage.create_new_trial(self._id, template_trial=template)
        record = TrialRecord(
            number, name, proposal.anchors, dict(proposal.values), proposal.in_space, attributes["fingerprint"],
            self._folder / "trials" / str(number), stage_ends=tuple(attributes["stage_ends"]),
        )  # fmt: skip
        self.records.append(record)
        return record

    def started(self, number: int) -> TrialRecord:
        """Count an attempt."""
        record = self._update(number, attempts=self.records[number].attempts + 1, state="running")
        self._set(number, "attempts", record.attempts)
        self._storage.set_trial_state_values(self._ids[number], TrialState.RUNNING)
        return record

    def crashed(self, number: int) -> TrialRecord:
        """Count a dead attempt."""
        record = self._update(number, crashes=self.records[number].crashes + 1)
        self._set(number, "crashes", record.crashes)
        return record

    def report(self, number: int, epoch: int, metrics: Mapping[str, float], seconds: float) -> Report | None:
        """Write one validation; an epoch that is already written (trained again after a crash) changes nothing."""
        record = self.records[number]
        if epoch <= record.epochs:
            return None
        report = Report(epoch, dict(metrics), seconds, self._order)
        self._order += 1
        content = {"metrics": dict(metrics), "seconds": seconds, "order": report.order}
        self._set(number, f"{_REPORT}{epoch}", content)
        self._write_value(number, epoch, metrics.get(self._metric, math.nan))
        self.records[number] = self._with_reports(record, (*record.reports, report))
        return report

    def pause(self, number: int) -> TrialRecord:
        """Mark an interrupted trial; it goes on with the next start."""
        self._storage.set_trial_state_values(self._ids[number], TrialState.WAITING)
        return self._update(number, state="waiting")

    def end(self, number: int, state: State, reason: str, *, epoch: int | None = None) -> TrialRecord:
        """Write how a trial ended.

        Told to Optuna: finished is COMPLETE with the best epoch's value; stopped is PRUNED at its last value; diverged
        is PRUNED with the worst value, because the sampler ignores failures and would walk back; failed is FAIL.

        Args:
            number: the trial.
            state: its end.
            reason: for people.
            epoch: for diverged: where.
        """
        self._set(number, "end", {"state": state, "reason": reason, "epoch": epoch})
        return self._close(number, state, reason, epoch)

    def reconcile(self) -> None:
        """Finish what a killed driver had begun: an end noted but not told, a report without its value."""
        for record in list(self.records):
            frozen = self._storage.get_trial(self._ids[record.number])
            if frozen.state.is_finished():
                continue
            for report in record.reports:
                if report.epoch not in frozen.intermediate_values:
                    self._write_value(record.number, report.epoch, report.metrics.get(self._metric, math.nan))
            if (end := frozen.user_attrs.get("end")) is not None:
                self._close(record.number, end["state"], end["reason"], end["epoch"])

    def _close(self, number: int, state: State, reason: str, epoch: int | None) -> TrialRecord:
        record = self.records[number]
        values = None
        if state == "diverged":
            self._write_value(number, epoch or record.epochs or 1, math.nan)
            values = [worst_value(self._mode)]
        elif state == "finished":
            assert record.metric is not None, "a finished trial has a result"
            values = [record.metric]
        elif state == "stopped" and record.reports:
            last = record.reports[-1].metrics.get(self._metric, math.nan)
            values = [last] if math.isfinite(last) else None
        self._storage.set_trial_state_values(self._ids[number], _ENDS[state], values)
        return self._update(number, state=state, reason=reason)

    def _write_value(self, number: int, epoch: int, value: float) -> None:
        finite = value if math.isfinite(value) else worst_value(self._mode)
        self._storage.set_trial_intermediate_value(self._ids[number], epoch, finite)

    def _set(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._ids[number], key, value)

    def _update(self, number: int, **changes: Any) -> TrialRecord:
        self.records[number] = replace(self.records[number], **changes)
        return self.records[number]

    def _with_reports(self, record: TrialRecord, reports: tuple[Report, ...]) -> TrialRecord:
        best = best_report(reports, self._metric, self._mode)
        return replace(
            record,
            reports=reports,
            seconds=reports[-1].seconds if reports else 0.0,
            metric=best.metrics[self._metric] if best else None,
            best_epoch=best.epoch if best else None,
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
            attempts=attributes.get("attempts", 0),
            crashes=attributes.get("crashes", 0),
            reason=end.get("reason", ""),
            stage_ends=tuple(attributes.get("stage_ends", ())),
        )
        reports = [
            Report(int(key.removeprefix(_REPORT)), value["metrics"], value["seconds"], value["order"])
            for key, value in attributes.items()
            if key.startswith(_REPORT)
        ]
        return self._with_reports(record, tuple(sorted(reports, key=lambda report: report.epoch)))
