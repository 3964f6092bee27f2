from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ikd.errors import BadInput, JobError
from ikd.progress import VARIABLE
from ikd.tracking import serve_ui
from ikd.tracking.mlflow_pages import newest_page
from ikd.tracking.mlflow_ui import ui_command
from ikd.world import python_code
from tests.unit.tracking.tell import make_tracker, tell_trial


def test_a_port_in_use_is_told_with_a_free_one(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            BadInput, match=rf"port {port} on 127\.0\.0\.1 cannot be used .*; port (\d+) is free"
        ) as caught:
            serve_ui(tmp_path, port=port)
    free = int(str(caught.value).rsplit(" ", 1)[1])
    assert free > port
    assert not (tmp_path / "mlflow.db").exists()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_impossible_port_is_refused(port: int, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"port: must be 1 to 65535, but got {port}"):
        serve_ui(tmp_path, port=port)


def test_a_foreign_host_is_refused(tmp_path: Path) -> None:
    host = "192.0.2.1"  # reserved for examples, so never ours
    with pytest.raises(BadInput, match="must be an address of this machine") as caught:
        serve_ui(tmp_path, host=host)
    assert repr(host) in str(caught.value)


def test_the_command_has_options_that_mlflow_knows(tmp_path: Path) -> None:
    from mlflow.cli import server

    known = {option for parameter in server.params for option in parameter.opts}
    command = ui_command(tmp_path, port=5001, host="127.0.0.1")
    assert command[command.index("--workers") + 1] == "1"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    own = command[command.index("--uvicorn-opts") + 1]
    assert {part for part in command if part.startswith("--") and part != own} <= known


def test_no_password_stands_on_a_command_line(tmp_path: Path) -> None:
    store = "postgresql://user:s3cret@host/mlflow"
    assert "s3cret" not in " ".join(ui_command(tmp_path, port=5001, host="127.0.0.1", store=store))


def test_the_page_is_that_of_the_experiment_written_last(client: Any) -> None:
    assert newest_page(client) == "#/experiments?workflowType=machine_learning"
    client.create_experiment("old")
    client.set_experiment_tag(client.create_experiment("ikd"), "a", "b")
    assert newest_page(client) == "#/experiments/2/runs?workflowType=machine_learning"


def test_a_server_that_does_not_start_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('cannot reach postgresql://u:s3cret@db/x'); sys.exit(3)"
    monkeypatch.setattr("ikd.tracking.mlflow_ui.ui_command", lambda *_, **__: python_code(code))
    with pytest.raises(JobError) as caught:
        serve_ui(home, port=_free_port())
    assert str(caught.value).splitlines() == [
        "the MLflow server ended with status 3:",
        "cannot reach postgresql://u:***@db/x",
    ]


def test_what_the_server_says_is_for_verbose(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ikd.tracking.mlflow_ui.ui_command", lambda *_, **__: python_code("import sys; sys.exit('no')"))
    monkeypatch.setenv(VARIABLE, "verbose")
    with pytest.raises(JobError, match="status 1; its message is above"):
        serve_ui(home, port=_free_port())
    assert "no" in capfd.readouterr().err


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_shows_a_sweep_and_stops_cleanly(stop: signal.Signals, home: Path) -> None:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 0, range(1, 3))
        tracker.end_sweep("finished")
    port = _free_port()
    for module in ("json", "typing", "mlflow", "uvicorn"):  # nobody may take these for the real ones
        (home / f"{module}.py").write_text("raise ImportError('of the working folder')")
    code = f"import pathlib, ikd.tracking as t; sys.exit(t.serve_ui(pathlib.Path({str(home)!r}), port={port}))"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "http_proxy": "http://127.0.0.1:9"}  # where nobody answers
    command = python_code(code)
    with (
        (home / "errors").open("w") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            cwd=home,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("MLflow UI:"))
        address = line.split()[2]
        assert address == f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning"
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"<title>MLflow</title>" in page.read()
        if stop is signal.SIGINT:
            os.killpg(process.pid, stop)  # as a terminal does
        else:
            process.send_signal(stop)
        assert process.wait(timeout=120) == 0
    assert "[MLflow]" not in (home / "errors").read_text()  # what the server says of itself is for -v
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))  # nothing is left behind
