"""Over HTTP: how many requests, and what a dead server does to a sweep."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ikd.tracking import open_tracker
from ikd.tracking.mlflow_client import http_settings
from ikd.tracking.tracker import SPOOL
from tests.unit.tracking.tell import make_tracker, runs_by_trial, steps, tell_trial


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("num_metrics", [1, 33, 400])
def test_one_request_per_report(num_metrics: int, server: Any, home: Path) -> None:
    with open_tracker(server.uri, home=home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tracker.start_trial(0, name="0", params={}, tags={})
        assert tracker.flush(60)
        server.requests.clear()
        for epoch in range(1, 6):
            tracker.log(0, epoch, {f"metric_{index}": float(epoch) for index in range(num_metrics)})
        assert tracker.flush(60)
        assert server.requests == ["/api/2.0/mlflow/runs/log-batch"] * 5


def test_artifacts_go_through_the_server(server: Any, home: Path, client: Any) -> None:
    (home / "recipe.yaml").write_text("a: 1\n")
    with open_tracker(server.uri, home=home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tracker.start_trial(0, name="0", params={}, tags={})
        tracker.log_artifacts(0, home / "recipe.yaml", "settings")
        assert tracker.flush(60)
    assert [path.name for path in (home / "mlartifacts").rglob("*.yaml")] == ["recipe.yaml"]
    assert runs_by_trial(client)["0"].info.artifact_uri.startswith("mlflow-artifacts:/")


def test_a_server_of_this_machine_is_reached_without_the_proxy(
    server: Any, home: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "elsewhere.example")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    with open_tracker(server.uri, home=home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        assert tracker.flush(60)
    assert list(runs_by_trial(client)) == ["sweep"]
    assert os.environ["no_proxy"].startswith("elsewhere.example,")


def test_a_server_that_goes_and_comes_back(server: Any, home: Path, client: Any) -> None:
    with open_tracker(server.uri, home=home, folder=home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(1, 4), None)
        assert tracker.flush(60)
        server.stop()
        tell_trial(tracker, 0, range(4, 8), None)
        assert not tracker.flush(0.5)
        assert (home / SPOOL).exists()
        server.start()
        tell_trial(tracker, 0, range(8, 11))
        tracker.end_sweep("finished")
        assert tracker.flush(60)
        assert not (home / SPOOL).exists()
    runs = runs_by_trial(client)
    assert steps(client, runs["0"]) == list(range(1, 11))
    assert [run.info.status for run in runs.values()] == ["FINISHED", "FINISHED"]


def test_a_server_that_is_never_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    tracker = open_tracker(uri, home=tmp_path, folder=tmp_path)
    tracker.start_sweep("demo", tags={}, params={})
    tell_trial(tracker, 0, range(1, 6))
    tracker.end_sweep("finished")
    assert not tracker.flush(0.2)
    assert "nothing answers at this address; the sweep goes on" in caplog.text
    tracker.close(timeout=0.5)
    assert len((tmp_path / SPOOL).read_text().splitlines()) == 9
    last = caplog.records[-1].getMessage()
    assert "9 results of sweep demo did not reach MLflow" in last
    assert uri in last
    assert str(tmp_path / SPOOL) in last


def test_the_spool_is_delivered_once_by_the_next_start(server: Any, home: Path, client: Any) -> None:
    """The first driver never reaches the server; the second resumes the trial and says the last epochs again."""
    dead = open_tracker(f"http://127.0.0.1:{closed_port()}", home=home, folder=home)
    dead.start_sweep("demo", tags={}, params={"recipe": "tiny"})
    tell_trial(dead, 0, range(1, 6), None)
    dead.close(timeout=0.3)
    spooled = (home / SPOOL).read_text()
    for _ in range(2):  # the second time as if the first had been killed before it removed the file
        (home / SPOOL).write_text(spooled)
        with open_tracker(server.uri, home=home, folder=home) as tracker:
            tracker.start_sweep("demo", tags={}, params={"recipe": "tiny"})
            tell_trial(tracker, 0, range(4, 8))
            tracker.end_sweep("finished")
            assert tracker.flush(60)
        runs = runs_by_trial(client)
        assert sorted(runs) == ["0", "sweep"]
        assert steps(client, runs["0"]) == list(range(1, 8))
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        assert not (home / SPOOL).exists()


def test_a_batch_that_arrived_although_the_answer_was_lost(
    server: Any, home: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    log_batch = MlflowClient.log_batch
    lost: list[str] = []

    def lose_one_answer(self: Any, run_id: str, **entities: Any) -> None:
        log_batch(self, run_id, **entities)
        if entities["metrics"] and not lost:
            lost.append(run_id)
            raise ConnectionError("the answer was lost")

    monkeypatch.setattr(MlflowClient, "log_batch", lose_one_answer)
    with open_tracker(server.uri, home=home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(1, 4))
        assert tracker.flush(60)
    assert lost
    assert steps(client, runs_by_trial(client)["0"]) == [1, 2, 3]


def test_http_settings_last_as_long_as_the_sweep_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    tracker = open_tracker("http://127.0.0.1:1", home=tmp_path)
    tracker.start_sweep("demo", tags={}, params={})
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"  # a person's own choice
    tracker.close(timeout=0)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_http_settings_last_as_long_as_any_sweep_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    first, second = http_settings("http://127.0.0.1:1"), http_settings("http://127.0.0.1:2")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    second.__exit__(None, None, None)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_deleted_experiment_is_told(home: Path, client: Any, caplog: pytest.LogCaptureFixture) -> None:
    client.delete_experiment(client.create_experiment("ikd"))
    tracker = make_tracker(home)
    tracker.start_sweep("demo", tags={}, params={})
    tracker.close(timeout=1.0)
    (command,) = re.findall("MLFLOW_TRACKING_URI=.*--experiment-id 1", caplog.text)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, shell=True, check=True, env=environment, capture_output=True)
    assert client.get_experiment_by_name("ikd").lifecycle_stage == "active"
