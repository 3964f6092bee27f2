"""A sweep that `mlflow run` started, and the run that MLflow made for the project, name each other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ikd.tracking import open_tracker
from ikd.tracking.mlflow_client import make_client
from ikd.tracking.mlflow_project import RUN, STORE, project_run


@pytest.fixture
def elsewhere(template: Path, tmp_path: Path) -> str:
    folder = tmp_path / "the caller's"
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


def begin(home: Path, uri: str) -> None:
    with open_tracker(uri, home=home, folder=home / "sweep") as tracker:
        tracker.start_sweep("mine", tags={}, params={})
        assert tracker.flush(60)


def sweep_run(client: Any) -> Any:
    (experiment,) = (one for one in client.search_experiments() if one.name != "Default")
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_the_runs_name_each_other(
    home: Path, uri: str, client: Any, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = make_client(elsewhere)
    project = caller.create_run("0").info.run_id
    monkeypatch.setenv(RUN, project)
    monkeypatch.setenv(STORE, elsewhere)
    begin(home, uri)
    run = sweep_run(client)
    assert run.data.tags["ikd.project_run"] == project
    tags = caller.get_run(project).data.tags
    assert (tags["ikd.sweep"], tags["ikd.sweep_run"], tags["ikd.sweep_uri"]) == ("mine", run.info.run_id, uri)
    assert tags["mlflow.note.content"] == f"Started the sweep mine in {uri}, run `{run.info.run_id}`."


def test_a_server_gives_the_project_a_link(
    server: Any, home: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = client.create_run("0").info.run_id
    monkeypatch.setenv(RUN, project)
    monkeypatch.setenv(STORE, server.uri)
    begin(home, server.uri)
    run = client.get_run(client.get_run(project).data.tags["ikd.sweep_run"])
    page = f"{server.uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert f"[mine]({page})" in client.get_run(project).data.tags["mlflow.note.content"]


def test_without_a_project_nothing_is_linked(home: Path, uri: str, client: Any) -> None:
    begin(home, uri)
    assert "ikd.project_run" not in sweep_run(client).data.tags


@pytest.mark.parametrize("environment", [{}, {RUN: "1"}, {STORE: "sqlite:///x"}, {RUN: "", STORE: "sqlite:///x"}])
def test_a_project_is_a_run_in_a_store(environment: dict[str, str]) -> None:
    assert project_run(environment) is None


def test_a_project_whose_run_is_gone_is_said_and_stops_nothing(
    home: Path, uri: str, client: Any, elsewhere: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(RUN, "no-such-run")
    monkeypatch.setenv(STORE, elsewhere)
    begin(home, uri)
    assert sweep_run(client).info.status == "RUNNING"
    assert "the project's run no-such-run in sqlite:///" in caplog.text
