"""A driver that dies, and the same command again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ikd.sweep import TrialRecord, stop_sweep, sweep_status, trials_of
from ikd.sweep._folder import sweep_folder
from tests.unit.sweep import fake_training

pytestmark = pytest.mark.fault
ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 180.0


def start(seconds_per_epoch: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.sweep_driver", str(seconds_per_epoch)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the sweep does not get there"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def seen(event: str) -> int:
    file = sweep_folder("s").path / "fake.jsonl"
    return len(fake_training.notes(file.parent, event)) if file.is_file() else 0


def recorded() -> list[TrialRecord]:
    return trials_of("s")


@pytest.fixture(autouse=True)
def ikd_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(tmp_path))


def test_kill_interrupt_and_stop_then_finish() -> None:
    """SIGKILL, Ctrl-C, `ikd stop`, each in the middle of a sweep; the last start finishes it."""
    with start(0.3) as process:
        wait_for(lambda: seen("epoch") >= 9, process)
        process.send_signal(signal.SIGKILL)
    ended = {trial.number: trial for trial in recorded() if trial.state not in ("running", "waiting")}
    assert not sweep_status("s").running

    with start(0.3) as process:
        before = seen("epoch")
        wait_for(lambda: seen("epoch") >= before + 4, process)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 130, text
    assert "interrupted after" in text
    assert all(trial.state != "running" for trial in recorded()), "a saved sweep leaves nothing running"

    with start(0.3) as process:
        before = seen("epoch")
        wait_for(lambda: seen("epoch") >= before + 4, process)
        assert sweep_status("s").running
        assert stop_sweep("s")
        text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 130, text

    with start(0.0) as process:
        text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 0, text

    trials = recorded()
    assert len(trials) == 8
    assert {trial.state for trial in trials} <= {"finished", "stopped"}
    for trial in trials:
        assert [report.epoch for report in trial.reports] == list(range(1, trial.epochs + 1)), "no hole, no repeat"
    for number, trial in ended.items():
        assert trials[number] == trial, "what had ended is as it was"
    trained = Counter((note["trial"], note["epoch"]) for note in fake_training.notes(sweep_folder("s").path, "epoch"))
    assert set(trained.values()) == {1}, "every epoch whose checkpoint was saved was trained once"


def test_a_second_interrupt_ends_at_once() -> None:
    with start(30.0) as process:
        wait_for(lambda: seen("start") >= 1, process)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        time.sleep(1.0)
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        text = process.communicate(timeout=LIMIT_SECONDS)[0]
    assert process.returncode == 130, text
    assert time.monotonic() - began < 25, "an epoch takes 30 s; it must not be waited for"
    assert [trial.state for trial in recorded()] == ["waiting"] * len(recorded())
