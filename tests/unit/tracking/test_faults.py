"""A whole sweep told to a server that misbehaves, and a driver that dies inside a delivery."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikd.errors import DiskFull
from ikd.files import append
from ikd.tracking import open_tracker
from ikd.tracking.events import Event
from ikd.tracking.tracker import SPOOL
from ikd.tracking.writer import THREAD, Writer
from tests.unit.tracking.tell import METRICS, make_tracker, runs_by_trial, steps, tell_trial

NOTICEABLE_SECONDS = 1.0
TRIALS, EPOCHS = 3, range(1, 5)
ANSWERS = {"hangs": None, "hangs up": b"", "fails": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"}


class BadServer:
    """Listens, and gives every request the same bad answer; none at all when `answer` is None."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer, self._held = answer, list[socket.socket]()
        self.asked = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked.set()
            if self._answer is None:
                self._held.append(connection)
                continue
            with connection, contextlib.suppress(OSError):  # the client may hang up first
                connection.recv(65536)
                connection.sendall(self._answer)

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() does not
        self._thread.join()
        for one in (self._socket, *self._held):
            one.close()


@pytest.fixture
def bad_server(request: pytest.FixtureRequest) -> Iterator[BadServer]:
    server = BadServer(ANSWERS[request.param])
    yield server
    server.close()


@pytest.mark.parametrize("bad_server", ANSWERS, indirect=True)
def test_no_call_waits_for_a_bad_server_and_nothing_is_lost(bad_server: BadServer, home: Path, client: Any) -> None:
    folder = home / "sweeps" / "demo"
    tracker = open_tracker(bad_server.uri, home=home, folder=folder)
    began = time.monotonic()
    tracker.start_sweep("demo", tags={}, params={})
    for number in range(TRIALS):
        tell_trial(tracker, number, EPOCHS)
    assert time.monotonic() - began < NOTICEABLE_SECONDS, "all trials were told without waiting"
    assert not tracker.flush(0.2)
    began = time.monotonic()
    tracker.close(timeout=0.5)
    assert time.monotonic() - began < 0.5 + 1.0 + NOTICEABLE_SECONDS, "at the end one second more than was allowed"
    assert len((folder / SPOOL).read_text().splitlines()) == 1 + TRIALS * (len(EPOCHS) + 2)

    with make_tracker(home) as second:
        second.start_sweep("demo", tags={}, params={})
        second.end_sweep("finished")
        assert second.flush(60)
    runs = runs_by_trial(client)
    assert len(runs) == 1 + TRIALS
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert all(steps(client, runs[str(number)]) == list(EPOCHS) for number in range(TRIALS))


@pytest.mark.parametrize("bad_server", ["hangs"], indirect=True)
def test_a_request_that_outlives_its_tracker_is_the_last(
    bad_server: BadServer, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps the settings of the sweep: MLflow's own would ask seven times more, and say so each time."""
    tracker = open_tracker(bad_server.uri, home=home)
    tracker.start_sweep("demo", tags={}, params={})
    assert bad_server.asked.wait(60)
    tracker.close(timeout=0)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    (thread,) = (one for one in threading.enumerate() if one.name == THREAD)
    bad_server.close()
    thread.join(60)
    assert not thread.is_alive()
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert [record.name for record in caplog.records] == ["ikd.tracking"], "what was not delivered, and no more"


def test_a_driver_that_dies_between_the_metrics_and_the_tags_of_a_batch(
    home: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow writes them in two transactions; told again with the same time, the metrics are the same points."""
    from mlflow import MlflowClient

    log_batch, logged, gate = MlflowClient.log_batch, threading.Event(), threading.Event()

    def die_half_way(self: Any, run_id: str, **entities: Any) -> None:
        log_batch(self, run_id, **{**entities, "tags": []})
        if entities["metrics"]:
            logged.set()
            gate.wait()  # as if the process had ended here

    first = make_tracker(home)
    first.start_sweep("demo", tags={}, params={})
    first.start_trial(0, name="0", params={}, tags={})
    assert first.flush(60)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_batch", die_half_way)
        first.log(0, 1, METRICS, time=1000.0)
        assert logged.wait(60)
    run = runs_by_trial(client)["0"]
    assert steps(client, run) == [1]
    assert "ikd.epochs" not in run.data.tags

    with make_tracker(home) as second:
        second.start_sweep("demo", tags={}, params={})
        second.start_trial(0, name="0", params={}, tags={})
        second.log(0, 1, METRICS, time=1000.0)
        second.log(0, 2, METRICS, time=1001.0)
        assert second.flush(60)
    assert steps(client, runs_by_trial(client)["0"]) == [1, 2]
    gate.set()
    first.close(timeout=60)


def test_what_mlflow_has_is_not_written_again(server: Any, home: Path, client: Any) -> None:
    """A restart tells every ended trial again: no run is opened for it, not even for a moment a kill could hit."""

    def tell(epochs: range) -> None:
        with open_tracker(server.uri, home=home, folder=home / "demo") as tracker:
            tracker.start_sweep("demo", tags={}, params={})
            for number in range(5):
                tell_trial(tracker, number, epochs)
            assert tracker.flush(60)
            server.requests.append("told")
            tracker.end_sweep("finished")
            assert tracker.flush(60)

    tell(range(1, 4))
    server.requests.clear()
    tell(range(1, 4))
    retold = server.requests[: server.requests.index("told")]
    assert len([path for path in retold if path.endswith("runs/search")]) == 1
    assert len(retold) <= 6, "the experiment, all runs at once, the run of the sweep"
    tell(range(1, 5))
    runs = runs_by_trial(client)
    assert all(steps(client, runs[str(number)]) == [1, 2, 3, 4] for number in range(5)), "what is new arrives"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


class Away:
    """A server that is never there."""

    place = "a server"

    def open(self, sweep_id: str) -> None:
        pass

    def close(self) -> None:
        pass

    def deliver(self, event: Event) -> None:
        raise ConnectionError("refused")

    def fault(self) -> str | None:
        return "the server is away"


def event(number: int) -> Event:
    return Event("log", "demo", 0, number, {"epoch": number, "metrics": {}})


def spooled(file: Path) -> list[int]:
    return [Event.from_line(line, Path()).time_ms for line in file.read_text().splitlines()]


def test_what_is_appended_to_a_torn_spool_can_be_read(tmp_path: Path) -> None:
    spool = tmp_path / SPOOL
    spool.write_text(event(7).to_line(Path()) + event(8).to_line(Path())[:20])
    writer = Writer(Away(), spool, waits=(0.01, 0.02))  # killed in the end, so it is not closed
    writer.put(event(9))
    assert not writer.flush(0.2)
    assert spooled(spool) == [7, 9]
    writer.close(0)


def test_a_spool_is_written_again_when_its_disk_has_space_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / SPOOL
    full = threading.Event()

    def write(path: Path, text: str) -> None:
        if full.is_set():
            raise DiskFull(str(path), len(text), 0)
        append(path, text)

    monkeypatch.setattr("ikd.tracking.writer.append", write)
    writer = Writer(Away(), spool, waits=(0.01, 0.02))
    writer.put(event(1))
    assert not writer.flush(0.2)
    full.set()
    writer.put(event(2))
    assert not writer.flush(0.2)
    assert spooled(spool) == [1]
    full.clear()
    assert not writer.flush(0.2)
    assert spooled(spool) == [1, 2]
    assert caplog.text.count("cannot write") == 1
    writer.close(0)


def test_a_disk_that_is_full_at_the_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, text: str) -> None:
        raise DiskFull(str(path), len(text), 0)

    for name in ("append", "write_text"):
        monkeypatch.setattr(f"ikd.tracking.writer.{name}", full)
    writer = Writer(Away(), tmp_path / SPOOL, waits=(0.01, 0.02))
    writer.put(event(1))
    assert writer.close(0) == 1
    assert "disk full while writing" in caplog.text
    assert "1 results are lost" in caplog.text
