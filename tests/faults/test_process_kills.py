"""A worker killed, its process group, worker and driver, everything at once; a checkpoint cut short in between."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import LIMIT_SECONDS, Sweep
from tests.processes import alive, descendants

pytestmark = pytest.mark.fault
SLOW = {"seconds": 0.3, "saving": 0.05}


def worker_of(sweep: Sweep, trial: int) -> int:
    return next(note["pid"] for note in reversed(sweep.notes("start")) if note["trial"] == trial)


def training(sweep: Sweep) -> int:
    """Return the trial that began an epoch last."""
    return int(sweep.notes("train")[-1]["trial"])


def kill_worker(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    os.killpg(os.getpgid(pid), signal.SIGKILL)


def test_a_worker_and_its_process_group(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """One driver lives through all of it: two deaths of a trial are retried, a third is one too many."""
    sweep = make_sweep(knobs={"seconds": 0.5}, runner={"concurrency": 1, "trial": {"max_retries": 2}})
    with sweep.start() as process:
        for number, death in ((0, 1), (0, 2), (0, 3), (1, 1), (1, 2)):
            sweep.wait_for(lambda n=number, d=death: attempts(sweep, n)[d:] == [1], process)  # type: ignore[misc]
            pid = worker_of(sweep, number)
            assert os.getpgid(pid) != os.getpgid(process.pid), "a worker's group is not its driver's"
            (kill_worker if number == 0 else kill_group)(pid)
            sweep.kills += 1
        sweep.turn()
        process.wait(LIMIT_SECONDS)
    assert process.returncode == 0, sweep.output.read_text()
    figures = sweep.check()
    first, second = sweep.records()[:2]
    assert (first.state, first.attempts, first.crashes) == ("failed", 3, 3)
    assert first.reason == "crashed 3 times, last: its worker process died"
    assert (second.state, second.attempts, second.crashes, second.epochs) == ("finished", 3, 2, 6)
    assert figures["epochs begun again"] <= sweep.kills
    note_fault("a worker SIGKILLed (3 times), its process group (2 times); max_retries 2", figures)


def attempts(sweep: Sweep, trial: int) -> list[int]:
    """Return how many epochs each attempt of a trial has saved, with a 0 in front."""
    saved = [0]
    for note in sweep.notes("start", "epoch"):
        if note["trial"] == trial:
            saved = [*saved, 0] if note["event"] == "start" else [*saved[:-1], saved[-1] + 1]
    return saved


def test_worker_and_driver_and_the_whole_tree(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """Whatever has not died with the driver is gone before the next start trains."""
    sweep = make_sweep(knobs=SLOW, runner={"concurrency": 2})

    def both(pid: int) -> None:
        kill_worker(worker_of(sweep, training(sweep)))
        kill_worker(pid)

    def tree(pid: int) -> None:
        for one in [pid, *descendants(pid)]:
            kill_worker(one)

    for kill in (both, tree):
        sweep.run_until(sweep.after("train", 5), kill)  # in the middle of an epoch
    sweep.turn()
    sweep.run()
    note_fault("worker and driver at once; driver, raylet, GCS and workers at once", sweep.check())


def test_no_worker_outlives_its_driver(make_sweep: MakeSweep) -> None:
    """Two processes must never train in one folder: a Ray takes far longer to start than the old worker lives."""
    sweep = make_sweep(tracked=False, knobs={"seconds": 60.0}, runner={"concurrency": 1})
    sweep.run_until(sweep.after("train", 1), kill_worker)
    pid, deadline = worker_of(sweep, 0), time.monotonic() + 5.0
    while alive(pid):
        assert time.monotonic() < deadline, "the worker still trains"
        time.sleep(0.05)


def test_a_checkpoint_cut_short(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """Power fails while the disk has half a checkpoint: the trial goes on from the one before."""
    sweep = make_sweep(runner={"concurrency": 1}, space={"budget": {"trials": 2}})
    sweep.run_to("write:set_trial_user_attr:report:4")
    os.truncate(sweep.folder.path / "trials" / "0" / "last.pth", 25)
    sweep.damaged = 1
    sweep.run()
    figures = sweep.check(trials=2)
    assert [note["first"] for note in sweep.notes("start") if note["trial"] == 0] == [0, 3]
    assert figures["saved epochs repeated"] == 1, "the epoch of the damaged checkpoint, no other"
    note_fault("last.pth cut short between kill and restart", figures)
