"""What a trial is worth among the others, pages, data and files of a sweep that has ended, in MLflow."""

from __future__ import annotations

import base64
import json
import logging
import math
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from ikd.errors import BadInput
from ikd.tracking import Page, open_tracker, sweep_pages
from ikd.tracking.mlflow_pages import newest_page
from ikd.tracking.mlflow_view import LONGEST, VIEW, view_key, view_tag
from ikd.tracking.tracker import SPOOL, sweep_identity
from tests.unit.tracking.tell import make_tracker, runs_by_trial, steps, tell_trial

HOST = ("distill.host",)
PAGE = Page("# what", "value", True, "bbox_mAP", ("value", "best/bbox_mAP"), HOST, ("role",), HOST)
DATA = {"name": "fish", "digest": "9c1f", "source": "/data/fish", "profile": {"classes": ["a|b"], "train_images": 3}}


def test_worth_changes_and_what_has_not_is_not_written_again(home: Path, client: Any) -> None:
    for value in (0.25, 0.5, 0.5):  # each by a start of its own
        with make_tracker(home) as tracker:
            tracker.start_sweep("demo", tags={}, params={})
            tell_trial(tracker, 0, range(1, 4), "stopped")
            tracker.compare(0, {"value": value}, step=3, tags={"choice": "chosen"}, name="★ 0 mgd")
            tracker.end_sweep("finished")
    run = runs_by_trial(client)["0"]
    assert run.data.metrics["value"] == 0.5
    assert [point.value for point in client.get_metric_history(run.info.run_id, "value")] == [0.25, 0.5]
    assert (run.info.run_name, run.data.tags["choice"], run.info.status) == ("★ 0 mgd", "chosen", "FINISHED")


def test_what_is_taken_back_is_not_a_number_and_sorts_last(home: Path, client: Any) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        for number, value in enumerate((0.5, 0.3, 0.4)):
            tell_trial(tracker, number, range(1, 2))
            tracker.compare(number, {"value": value}, step=1, tags={"choice": "chosen"})
        tracker.compare(0, {"value": None, "never": None}, step=1, tags={"choice": ""})
    run = runs_by_trial(client)["0"]
    assert math.isnan(run.data.metrics["value"])
    assert "never" not in run.data.metrics
    assert run.data.tags["choice"] == ""
    experiment = client.get_experiment_by_name("ikd").experiment_id
    for way, order in (("DESC", ["2", "1", "0"]), ("ASC", ["1", "2", "0"])):
        runs = client.search_runs([experiment], "tags.`ikd.trial` != 'sweep'", order_by=[f"metrics.value {way}"])
        assert [one.data.tags["ikd.trial"] for one in runs] == order


def test_the_sweeps_own_are_curves(home: Path, client: Any) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        for step, value in enumerate((0.1, 0.1, 0.2), start=1):
            tracker.compare(None, {"sweep/best by trials": value}, step=step)
    assert steps(client, runs_by_trial(client)["sweep"], "sweep/best by trials") == [1, 2, 3]


def test_data_are_noted_once(home: Path, client: Any) -> None:
    for _ in range(2):
        with make_tracker(home) as tracker:
            tracker.start_sweep("demo", tags={}, params={})
            tell_trial(tracker, 0, range(1, 2))
            tracker.log_data(0, DATA)
            tracker.log_data(None, DATA)
    for run in runs_by_trial(client).values():
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("fish", "9c1f")
        assert json.loads(used.dataset.profile) == DATA["profile"]


def test_trials_have_the_user_and_the_source_of_the_sweep(home: Path, client: Any) -> None:
    tags = {"mlflow.user": "ann", "mlflow.source.name": "ikd sweep demo", "directory": "/s"}
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags=tags, params={})
        tell_trial(tracker, 0, range(1, 2))
    run = runs_by_trial(client)["0"]
    assert (run.data.tags["mlflow.user"], run.data.tags["mlflow.source.name"]) == ("ann", "ikd sweep demo")
    assert "directory" not in run.data.tags


def test_a_page_is_a_description_and_a_view(home: Path, client: Any, uri: str) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={}, page=PAGE)
    experiment = client.get_experiment_by_name("ikd")
    folder = home / "sweeps" / "demo"
    identity = sweep_identity(folder, create=False)
    assert runs_by_trial(client)["sweep"].data.tags["mlflow.note.content"] == "# what"
    state = json.loads(experiment.tags[VIEW + view_key(identity)])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`value`", False)
    assert state["selectedColumns"][:2] == ["metrics.`value`", "metrics.`best/bbox_mAP`"]
    assert identity in state["searchFilter"]
    assert client.search_runs([experiment.experiment_id], state["searchFilter"]) == []
    pages = sweep_pages(uri, folder=folder, experiment="ikd", page=PAGE)
    assert pages.runs == newest_page(client)
    assert parse_qs(pages.runs.partition("?")[2])["viewStateShareKey"] == [view_key(identity)]
    with pytest.raises(BadInput, match=r"sweep other: is not in MLflow at .*; ikd track rebuild other writes it"):
        sweep_pages(uri, folder=home / "sweeps" / "other", experiment="ikd", page=PAGE)


def test_a_long_view_is_packed_as_mlflow_does() -> None:
    many = {**vars(PAGE), "params": [f"a.long.name.of.a.parameter.{number}" for number in range(200)]}
    name, text = view_tag(many, "abc")
    assert name == VIEW + "ikd-abc"
    assert len(text) <= LONGEST
    packed = text.removeprefix("deflate;")
    assert len(json.loads(zlib.decompress(base64.b64decode(packed)))["selectedColumns"]) == 203


def test_files_come_to_a_sweep_that_has_ended(home: Path, client: Any) -> None:
    file = home / "report.html"
    file.write_text("<html>")
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tracker.end_sweep("finished", "done")
    with make_tracker(home) as tracker:
        tracker.attach("demo")
        tracker.log_artifacts(None, file, "export")
        assert tracker.flush(60)
    run = runs_by_trial(client)["sweep"]
    assert (run.info.status, run.data.tags["ikd.reason"]) == ("FINISHED", "done")
    assert [one.path for one in client.list_artifacts(run.info.run_id, "export")] == ["export/report.html"]


def test_what_is_refused_is_kept_told_once_and_sent_when_it_is_granted(
    home: Path, client: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    refused = MlflowException("Permission denied", error_code=PERMISSION_DENIED)
    assert refused.error_code == "PERMISSION_DENIED"

    def refuse(*given: Any, **more: Any) -> None:
        raise refused

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.create_run", refuse)
        tracker = make_tracker(home)
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(1, 4))
        assert not tracker.flush(1.5)
        tracker.close(0.5)
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "does not let this user write into experiment 'ikd'" in told[0]
    assert "ikd track rebuild demo" in told[0]
    assert len(told) == 2, "the second says what waits"
    spool = home / "sweeps" / "demo" / SPOOL
    assert len(spool.read_text().splitlines()) == 6
    with make_tracker(home) as tracker:
        tracker.attach("demo")
        assert tracker.flush(60)
    assert steps(client, runs_by_trial(client)["0"]) == [1, 2, 3]
    assert not spool.exists()


def test_a_refused_experiment_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that a new sweep asks for is its experiment."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    def refuse(*given: Any) -> str:
        raise MlflowException("no", error_code=PERMISSION_DENIED)

    monkeypatch.setattr("ikd.tracking.mlflow_sink.get_experiment", refuse)
    tracker = open_tracker(f"sqlite:///{tmp_path / 'x.db'}", home=tmp_path, folder=tmp_path / "s", experiment="theirs")
    tracker.start_sweep("demo", tags={}, params={})
    assert not tracker.flush(1.0)
    tracker.close(0.1)
    assert (tmp_path / "s" / SPOOL).is_file()
