"""Real sweeps whose MLflow server is away, dies in the middle, comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest

from ikd.tracking.mlflow_ui import ui_command
from ikd.tracking.tracker import SPOOL
from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import LIMIT_SECONDS, Sweep

pytestmark = pytest.mark.fault
NOTICEABLE_SECONDS = 1.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(sweep: Sweep, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's own server over the database in the sweep's home."""
    command = ui_command(sweep.home, port=port, host="127.0.0.1")
    with (sweep.home / "server.out").open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert time.monotonic() < deadline, (sweep.home / "server.out").read_text()
            time.sleep(0.2)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read())
    return False


def test_a_server_that_comes_late_dies_and_comes_back(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """Three starts: never a server; one that dies in the middle; one that is there. Each start adds trials."""
    port = free_port()
    sweep = make_sweep(runner={"concurrency": 2, "tracking": {"uri": f"http://127.0.0.1:{port}"}})
    sweep.settings["space"] = {"budget": {"trials": 4}}
    never = sweep.run_counting()
    assert "nothing answers at this address; the sweep goes on" in sweep.output.read_text()
    assert (sweep.folder.path / SPOOL).stat().st_size > 0

    sweep.settings["space"] = {"budget": {"trials": 8}}
    sweep.turn(seconds=0.2)
    with serving(sweep, port) as server, sweep.start(labels=str(sweep.home / "labels.json")) as process:
        sweep.wait_for(sweep.after("epoch", 6), process)
        os.killpg(server.pid, signal.SIGKILL)
        process.wait(LIMIT_SECONDS)
    assert process.returncode == 0, sweep.output.read_text()
    sweep.kills = 1
    dies = sweep.counted()

    with serving(sweep, port):
        comes = sweep.run_counting()
        assert not (sweep.folder.path / SPOOL).exists()
        figures = sweep.check()
    for start in (never, dies, comes):
        assert start["slowest_tracker_call"] < NOTICEABLE_SECONDS, "the driver has waited for MLflow"
    note_fault("MLflow server away, killed in the middle, back", figures)
