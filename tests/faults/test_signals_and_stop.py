"""SIGTERM, SIGINT once and twice, `ikd stop`: each ends a sweep that the same command goes on with."""

from __future__ import annotations

import signal
import time

import pytest

from ikd.sweep import stop_sweep, sweep_status
from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import LIMIT_SECONDS, Sweep

pytestmark = pytest.mark.fault


def interrupt(sweep: Sweep, *signals: signal.Signals) -> float:
    """Send signals in the middle of the sweep; return how long it took to end."""
    with sweep.start() as process:
        sweep.wait_for(sweep.after("train", 2), process)
        began = time.monotonic()
        for place, number in enumerate(signals):
            if place > 0:
                sweep.wait_for(lambda: "ending the sweep" in sweep.output.read_text(), process)
            process.send_signal(number)
        process.wait(LIMIT_SECONDS)
    text = sweep.output.read_text()
    assert process.returncode == 128 + signals[0], text
    assert "interrupted after" in text
    assert "Traceback" not in text
    assert sweep.running_in_study() == 0, "what is saved waits"
    sweep.kills += 1
    return time.monotonic() - began


def test_every_signal_then_finish(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    sweep = make_sweep(knobs={"seconds": 0.3}, runner={"concurrency": 2})
    for number in (signal.SIGTERM, signal.SIGINT):
        interrupt(sweep, number)
        assert sweep.unsaved_epochs() == 0, "the first signal lets the running epochs end"
    with sweep.start() as process:
        sweep.wait_for(sweep.after("train", 2), process)
        assert sweep_status("s", home=sweep.home).running
        assert stop_sweep("s", home=sweep.home)
        process.wait(LIMIT_SECONDS)
    assert process.returncode == 130, sweep.output.read_text()
    assert not sweep_status("s", home=sweep.home).running
    sweep.kills += 1
    sweep.turn()
    sweep.run()
    note_fault("SIGTERM, SIGINT, ikd stop", sweep.check())


def test_a_second_signal_ends_at_once(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    sweep = make_sweep(knobs={"seconds": 60.0}, runner={"concurrency": 2})
    assert interrupt(sweep, signal.SIGINT, signal.SIGINT) < 40, "an epoch takes 60 s; it must not be waited for"
    assert [record.state for record in sweep.records()] == ["waiting", "waiting"]
    sweep.turn()
    sweep.run()
    note_fault("SIGINT twice", sweep.check())


def test_a_trial_that_waits_for_another_ones_teacher_hears_of_the_end(make_sweep: MakeSweep) -> None:
    """The one stopped first keeps the lock: its thread stands in the report that was answered by the stop."""
    sweep = make_sweep(knobs={"preparing": 600.0, "shared": True}, runner={"concurrency": 2})
    with sweep.start() as process:
        sweep.wait_for(lambda: "waits for what another trial makes" in sweep.output.read_text(), process)
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT_SECONDS)
    assert process.returncode == 130, sweep.output.read_text()
    assert len(sweep.notes("prepare")) == 1
    assert [record.state for record in sweep.records()] == ["waiting", "waiting"]
