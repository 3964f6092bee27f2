"""Signals that meet a whole process group, or all processes of a service: nothing is left, and the sweep goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikd.trial import OPEN
from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import LIMIT_SECONDS, ROOT, Sweep
from tests.processes import alive, descendants

pytestmark = pytest.mark.fault
WITHIN_SECONDS = 20.0
"""What a batch system, a container or CI may be taken to wait; of an idle machine."""
Condition = Callable[[], bool]


def allowed() -> float:
    """Return how long it may take beside whatever else runs on this machine."""
    return WITHIN_SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def to_group(pid: int, number: int) -> None:
    os.killpg(pid, number)


def to_all(pid: int, number: int) -> None:
    """Signal every process, whatever its group: so does systemd, whose services are control groups."""
    for one in [pid, *descendants(pid)]:
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue


def ended_by(
    sweep: Sweep,
    when: Condition,
    send: Callable[[int, int], None] = to_group,
    *,
    number: signal.Signals = signal.SIGTERM,
    times: int = 1,
) -> str:
    """Signal the driver once `when` holds, and hold it to what must be true then; return what it has printed."""
    with sweep.start() as process:
        sweep.wait_for(when, process)
        family = descendants(process.pid)
        began = time.monotonic()
        for _ in range(times):
            send(process.pid, number)
        process.wait(LIMIT_SECONDS)
        took = time.monotonic() - began
    text = sweep.output.read_text()
    assert process.returncode == 128 + number, text
    assert "Traceback" not in text
    assert took < allowed(), f"it took {took:.1f} s: {text}"
    assert not [pid for pid in family if alive(pid)], "nothing is left running"
    assert not list(Path("/tmp").glob(f"ikd-ray-{process.pid}-*")), "nor in /tmp"
    if (sweep.folder.path / "study.db").is_file() and sweep.folder.exists:
        assert {record.state for record in sweep.records()} <= {"waiting", "finished", "stopped"}
    sweep.kills += 1
    return text


def starting(sweep: Sweep) -> Condition:
    """Return a condition: Ray is being started, which takes seconds."""
    return lambda: "new sweep" in sweep.output.read_text()


@pytest.mark.parametrize("send", [to_group, to_all], ids=["process group", "all processes"])
def test_running_epochs_are_saved(
    send: Callable[[int, int], None], make_sweep: MakeSweep, note_fault: NoteFault
) -> None:
    sweep = make_sweep(knobs={"seconds": 0.5}, runner={"concurrency": 2})
    text = ended_by(sweep, sweep.after("train", 3), send)
    assert "SIGTERM: ending the sweep; saving" in text
    assert "interrupted after" in text
    assert sweep.unsaved_epochs() == 0, "the running epochs have ended"
    sweep.turn()
    sweep.run()
    note_fault(f"SIGTERM to {'the process group' if send is to_group else 'all processes'}", sweep.check())


def test_an_epoch_that_takes_longer_than_anybody_waits(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    sweep = make_sweep(knobs={"seconds": 120.0}, runner={"concurrency": 2})
    ended_by(sweep, sweep.after("train", 2))
    assert [record.epochs for record in sweep.records()] == [0, 0]
    sweep.turn()
    sweep.run()
    note_fault("SIGTERM to the group, in an epoch of 120 s", sweep.check())


def test_twice_in_a_row_and_a_closed_terminal(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    sweep = make_sweep(knobs={"seconds": 0.5}, runner={"concurrency": 2})
    ended_by(sweep, sweep.after("train", 2), times=2)
    text = ended_by(sweep, sweep.after("train", 2), number=signal.SIGHUP)
    assert "SIGHUP: ending the sweep" in text
    sweep.turn()
    sweep.run()
    note_fault("SIGTERM to the group twice, then SIGHUP", sweep.check())


def test_before_the_first_trial(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """While the study is made, while Ray starts, and while what trials share is made: each can go on."""
    sweep = make_sweep(runner={"concurrency": 2})
    ended_by(sweep, lambda: (sweep.folder.path / "driver.json").is_file())
    ended_by(sweep, starting(sweep))
    ended_by(sweep, starting(sweep), times=2)
    sweep.turn(preparing=120.0)
    ended_by(sweep, sweep.after("prepare", 1))
    assert all(record.state in OPEN for record in sweep.records())
    sweep.turn()
    sweep.run()
    note_fault("SIGTERM to the group before the first epoch (4 moments)", sweep.check())


ALONE = ("distill.host=none", "student.inherit=false", "augment.enabled=false", "adversarial.enabled=false")
SMALL = ("teachers.sequence=[]", "schedule.epochs=500", "input.scale=[64, 64]")


@pytest.mark.parametrize("loaders", [0, 2])
def test_a_training_without_a_sweep(loaders: int, tmp_path: Path) -> None:
    sets = [part for one in (*ALONE, *SMALL, f"schedule.workers={loaders}") for part in ("--set", one)]
    with command(tmp_path, "train", "drawn_r18", *sets, "--to", str(tmp_path / "out")) as process:
        await_state(lambda: (tmp_path / "out" / "last.pth").is_file(), process, tmp_path)
        await_state(lambda: len(descendants(process.pid)) >= loaders, process, tmp_path)
        text = group_ended(process, descendants(process.pid), tmp_path)
    assert f"SIGTERM: ended; {tmp_path}/out/last.pth holds the last validated epoch" in text
    assert "--resume" in text


def test_an_attack_whose_teacher_is_being_trained(tmp_path: Path) -> None:
    with command(tmp_path, "attack", "drawn_r18", "--set", "input.scale=[64, 64]") as process:
        await_state(lambda: "teacher" in (tmp_path / "said").read_text(), process, tmp_path)
        text = group_ended(process, descendants(process.pid), tmp_path)
    assert "SIGTERM: ended; what is made of the perturbations is kept" in text


@contextlib.contextmanager
def command(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `ikd` in a process group of its own, all its words in the file `said`."""
    line, own = [sys.executable, "-m", "ikd.cli", *arguments], {"IKD_HOME": str(folder / "home")}
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            line, cwd=ROOT, env={**os.environ, **own},
            stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_state(condition: Condition, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert process.poll() is None, (folder / "said").read_text()
        assert time.monotonic() < deadline, (folder / "said").read_text()
        time.sleep(0.05)


def group_ended(process: subprocess.Popen[bytes], family: list[int], folder: Path) -> str:
    began = time.monotonic()
    to_group(process.pid, signal.SIGTERM)
    process.wait(LIMIT_SECONDS)
    took, text = time.monotonic() - began, (folder / "said").read_text()
    assert process.returncode == 143, text
    assert took < allowed(), f"it took {took:.1f} s"
    assert "Traceback" not in text
    deadline = time.monotonic() + 10.0  # a loader looks for its parent every few seconds
    while left := [pid for pid in family if alive(pid)]:
        assert time.monotonic() < deadline, f"left running: {left}"
        time.sleep(0.05)
    return text
