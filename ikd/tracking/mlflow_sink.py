"""Events to MLflow runs: one parent run a sweep, one child a trial, for its whole life."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.tracking.events import Event, read_epochs, write_epochs
from ikd.tracking.mlflow_client import (
    find_run,
    find_runs,
    get_experiment,
    hide_password,
    http_settings,
    make_client,
    plain_reason,
)
from ikd.tracking.mlflow_project import link_project
from ikd.tracking.mlflow_view import view_tag
from ikd.tracking.names import MAX_PARAM_LENGTH, MAX_TAG_LENGTH, clean_keys, same_text, value_text
from ikd.tracking.writer import Refused, Rejected

RUN_STATUS = {
    "finished": "FINISHED",
    "stopped": "FINISHED",  # on purpose, and so no failure: MLflow draws a red cross beside all that is killed
    "diverged": "FAILED",
    "failed": "FAILED",
    "killed": "KILLED",
}
SWEEP_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_WHO = ("mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit")
"""Tags of a sweep that its trials have, too: columns of MLflow's lists."""
_REFUSING = ("PERMISSION_DENIED", "UNAUTHENTICATED")
"""Codes of MLflow's errors where the server knows what is asked, and does not let this user."""
_MAX_DIGEST = 36
_MAX_METRICS, _MAX_PARAMS = 900, 100  # MLflow takes 1000 entities and 100 parameters a batch


@dataclass
class Facts:
    """What a run says that may change, so that nothing is written twice.

    Attributes:
        metrics: the latest values.
        tags: of the run.
        name: of the run.
        digest: of the data that it learns from; empty where none are noted.
    """

    metrics: dict[str, float]
    tags: dict[str, str]
    name: str
    digest: str

    @classmethod
    def of(cls, run: Any) -> Facts:
        """Read them from MLflow's run."""
        inputs = getattr(run.inputs, "dataset_inputs", None) or []
        digest = inputs[0].dataset.digest if inputs else ""
        return cls(dict(run.data.metrics), dict(run.data.tags), run.info.run_name or "", digest)

    def changed(self, name: str, value: float | None) -> float | None:
        """Return what is to be written of a metric, None for nothing; what is taken back becomes NaN, as none goes."""
        known = self.metrics.get(name, math.nan)
        if value is None:
            return None if math.isnan(known) else math.nan
        return None if known == value else value


class MlflowSink:
    """Writes events with an `MlflowClient`; every event may be written again.

    Args:
        uri: tracking URI of a server (`http://...`) or a database (`sqlite:///...`).
        experiment: name of the MLflow experiment that holds the runs.
        artifact_root: where artifacts of a new experiment go; None leaves it to the server.

    Attributes:
        uri: as given.
        place: MLflow and its URI without the password, for messages.
    """

    def __init__(self, uri: str, experiment: str, artifact_root: Path | None = None) -> None:
        self.uri, self.place = uri, f"MLflow at {hide_password(uri)}"
        self._experiment, self._artifact_root = experiment, artifact_root
        self._sweep_id = ""
        self._settings = contextlib.ExitStack()
        self._client: Any = None
        self._experiment_id = ""
        self._runs: dict[int | None, str] = {}
        self._epochs: dict[int, set[int]] = {}
        self._facts: dict[int | None, Facts] = {}
        self._who: dict[str, Any] = {}
        self._earlier: dict[str, Any] | None = None  # runs of earlier starts, asked for once
        self._ended: dict[int | None, Any] = {}  # of these, those of ended trials

    def open(self, sweep_id: str) -> None:
        """Take what tells the sweep from others of its name on the same server; see `Sink`."""
        self._sweep_id = sweep_id
        self._settings.enter_context(http_settings(self.uri))

    def close(self) -> None:
        """Take back what `open` set; see `Sink`."""
        self._settings.close()

    def deliver(self, event: Event) -> None:
        """Write one event; see `Sink`."""
        errors = importlib.import_module("mlflow.exceptions")
        try:
            self._connect()
            getattr(self, f"_on_{event.kind}")(event)
        except errors.MlflowException as error:
            self._runs.pop(event.number, None)  # look it up again: it may have been deleted by hand
            self._ended.pop(event.number, None)
            if error.error_code in _REFUSING:
                raise Refused(f"{self.place} does not let this user {self._writing()}") from error
            if error.error_code in ("INVALID_PARAMETER_VALUE", "INVALID_STATE"):
                raise Rejected(error.message) from error
            raise

    def fault(self) -> str | None:
        """Say why nothing can be written now, or None; see `Sink`."""
        try:
            self._connect()
            self._client.get_experiment(self._experiment_id)
        except Exception as error:  # any reason at all
            return f"{self.place} cannot be written to: {plain_reason(error)}"
        return None

    def _writing(self) -> str:
        return f"write into experiment {self._experiment!r}"

    def _connect(self) -> None:
        if self._client is None:
            client = make_client(self.uri, self._artifact_root)
            self._experiment_id = get_experiment(client, self._experiment, self._artifact_root)
            self._client = client

    def _on_start_sweep(self, event: Event) -> None:
        run_id, page = self._run(event), event.data.get("page")
        self._who = {name: text for name, text in event.data["tags"].items() if name in _WHO}
        self._open(event, run_id)
        fault = link_project(self._client, self.uri, self._experiment_id, run_id, event.sweep)
        if page is not None:
            self._show(run_id, page)
        if fault:
            raise Rejected(fault)

    def _show(self, run_id: str, page: Mapping[str, Any]) -> None:
        self._batch(run_id, tags={"mlflow.note.content": page["description"]})
        name, view = view_tag(page, self._sweep_id)
        if self._client.get_experiment(self._experiment_id).tags.get(name) != view:
            self._client.set_experiment_tag(self._experiment_id, name, view)

    def _on_start_trial(self, event: Event) -> None:
        run_id, ended = self._run(event), self._ended.get(event.number)
        if ended is None or not _has(ended, event.data["params"], event.data["tags"]):
            self._open(event, run_id)

    def _open(self, event: Event, run_id: str) -> None:
        self._ended.pop(event.number, None)
        run = self._client.get_run(run_id)
        if run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        wanted = {
            name: value_text(value, MAX_PARAM_LENGTH, name) for name, value in clean_keys(event.data["params"]).items()
        }
        changed = [name for name, text in wanted.items() if not same_text(run.data.params.get(name, text), text)]
        new = [(name, text) for name, text in wanted.items() if name not in run.data.params]
        tags = {**self._who, **event.data["tags"], "ikd.state": "running", "ikd.reason": ""}
        self._batch(run_id, tags=tags)
        for start in range(0, len(new), _MAX_PARAMS):
            self._batch(run_id, params=new[start : start + _MAX_PARAMS])
        if changed:
            raise Rejected(f"MLflow keeps the first value of a parameter; changed since: {', '.join(changed)}")

    def _on_log(self, event: Event) -> None:
        assert event.number is not None
        run_id, epoch = self._run(event), int(event.data["epoch"])
        known = self._epochs.setdefault(event.number, set())
        if epoch in known:
            return
        if self._ended.pop(event.number, None) is not None:
            self._client.update_run(run_id, status="RUNNING")
        values = clean_keys(event.data["metrics"])
        finite = [(name, value) for name, value in values.items() if math.isfinite(value)]
        tags = {"ikd.epochs": write_epochs(known | {epoch})}
        if len(finite) < len(values):
            bad = ", ".join(name for name, value in values.items() if not math.isfinite(value))
            tags["ikd.non_finite"] = f"epoch {epoch}: {bad}"
        entities = importlib.import_module("mlflow.entities")
        metrics = [entities.Metric(name, value, event.time_ms, epoch) for name, value in finite]
        for start in range(_MAX_METRICS, len(metrics), _MAX_METRICS):
            self._batch(run_id, metrics=metrics[start : start + _MAX_METRICS])
        self._batch(run_id, metrics=metrics[:_MAX_METRICS], tags=tags)  # last: the tag says that the epoch is complete
        known.add(epoch)

    def _on_compare(self, event: Event) -> None:
        run_id = self._run(event)
        facts, entities = self._facts[event.number], importlib.import_module("mlflow.entities")
        told = clean_keys(event.data["metrics"])
        if event.number is not None:  # the sweep's own are points of curves, of which equal ones are points, too
            told = {name: facts.changed(name, value) for name, value in told.items()}
        new = {name: float(value) for name, value in told.items() if value is not None}
        points = [entities.Metric(name, value, event.time_ms, event.data["step"]) for name, value in new.items()]
        tags = {k: text for k, text in event.data["tags"].items() if facts.tags.get(k, "") != text}
        if points or tags:
            self._batch(run_id, metrics=points, tags=tags)
        if event.data["name"] and facts.name != event.data["name"]:
            self._client.update_run(run_id, name=event.data["name"])
            facts.name = event.data["name"]
        facts.metrics |= new
        facts.tags |= tags

    def _on_data(self, event: Event) -> None:
        run_id, entities = self._run(event), importlib.import_module("mlflow.entities")
        facts, data = self._facts[event.number], event.data
        digest = data["digest"][:_MAX_DIGEST]
        if digest == facts.digest:
            return
        source = json.dumps({"uri": data["source"]})
        profile = json.dumps(data["profile"], ensure_ascii=False)
        found = entities.Dataset(data["name"][:500], digest, "local", source, profile=profile)
        used = entities.DatasetInput(found, [entities.InputTag("mlflow.data.context", "training")])
        self._client.log_inputs(run_id, datasets=[used])
        facts.digest = digest

    def _on_end_trial(self, event: Event) -> None:
        run_id, ended = self._run(event), self._ended.get(event.number)
        if ended is None or not _has(ended, {}, {"ikd.state": event.data["state"], "ikd.reason": event.data["reason"]}):
            self._end(run_id, event)

    def _on_artifacts(self, event: Event) -> None:
        path, folder = Path(event.data["path"]), event.data["folder"] or None
        if not path.exists():
            raise Rejected(f"{path} is gone")
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        log(self._run(event), str(path), folder)

    def _on_end_sweep(self, event: Event) -> None:
        parent = self._run(event)
        where = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'RUNNING'"
        for run in self._client.search_runs([self._experiment_id], where, max_results=1000):
            data = {"state": "killed", "reason": f"the sweep ended ({event.data['state']}) before this trial did"}
            self._end(run.info.run_id, Event("end_trial", event.sweep, None, event.time_ms, data))
        self._end(parent, event)

    def _on_delete_sweep(self, event: Event) -> None:
        mine = f"tags.`ikd.sweep_id` = '{self._sweep_id}'"
        while runs := self._client.search_runs([self._experiment_id], mine, max_results=1000):
            for run in runs:
                self._client.delete_run(run.info.run_id)
        for known in (self._runs, self._epochs, self._ended, self._facts):
            known.clear()
        self._earlier = {}

    def _end(self, run_id: str, event: Event) -> None:
        state = event.data["state"]
        self._batch(run_id, tags={"ikd.state": state, "ikd.reason": event.data["reason"]})
        status = SWEEP_STATUS if event.kind == "end_sweep" else RUN_STATUS
        self._client.set_terminated(run_id, status[state], event.time_ms)

    def _run(self, event: Event) -> str:
        """Return the id of the run that the event belongs to, made where there is none."""
        number = event.number
        if number not in self._runs:
            if self._earlier is None:  # one request for the runs of an earlier start, not one each
                self._earlier = find_runs(self._client, self._experiment_id, self._sweep_id)
            run = self._earlier.pop("sweep" if number is None else str(number), None)
            run = run or find_run(self._client, self._experiment_id, self._sweep_id, number) or self._create(event)
            self._runs[number] = run.info.run_id
            self._facts[number] = Facts.of(run)
            if number is not None:
                self._epochs[number] = read_epochs(run.data.tags.get("ikd.epochs", ""))
                state = run.data.tags.get("ikd.state", "")
                if state != "killed" and RUN_STATUS.get(state) == run.info.status:
                    self._ended[number] = run  # told again, it is not opened before there is something new
        return self._runs[number]

    def _create(self, event: Event) -> Any:
        trial = "sweep" if event.number is None else str(event.number)
        tags = {"ikd.sweep": event.sweep, "ikd.sweep_id": self._sweep_id, "ikd.trial": trial}
        name = event.sweep if event.number is None else str(event.data.get("name") or trial)
        if event.number is not None:
            tags["mlflow.parentRunId"] = self._run(Event("start_sweep", event.sweep, None, event.time_ms))
        return self._client.create_run(self._experiment_id, event.time_ms, tags, name)

    def _batch(
        self,
        run_id: str,
        *,
        metrics: list[Any] | None = None,
        params: list[tuple[str, str]] | None = None,
        tags: dict[str, Any] | None = None,
    ) -> None:
        entities = importlib.import_module("mlflow.entities")
        self._client.log_batch(
            run_id,
            metrics=metrics or [],
            params=[entities.Param(*pair) for pair in params or []],
            tags=[entities.RunTag(key, value_text(tag, MAX_TAG_LENGTH)) for key, tag in clean_keys(tags or {}).items()],
        )


def _has(run: Any, params: Mapping[str, Any], tags: Mapping[str, Any]) -> bool:
    """Tell whether a run says all this already."""
    wanted = {name: value_text(value, MAX_PARAM_LENGTH, name) for name, value in clean_keys(params).items()}
    told = {name: value_text(value, MAX_TAG_LENGTH) for name, value in clean_keys(tags).items()}
    there = all(name in run.data.params and same_text(run.data.params[name], text) for name, text in wanted.items())
    return there and told.items() <= run.data.tags.items()
