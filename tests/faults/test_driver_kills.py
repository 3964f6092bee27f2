"""SIGKILL of the driver at twenty moments of real sweeps; the same command again is as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import Json, story

pytestmark = pytest.mark.fault
SEED = 20
ONE = {"concurrency": 1}
"""One trial at a time: with two, the order of their reports is the machine's, not the seed's."""
WINDOWS = {
    "before the first trial": ("write:create_new_trial", 1),
    "between trial created and started": ("write:set_trial_user_attr:starts", 1),
    "before the first report": ("write:set_trial_user_attr:report:1", 1),
    "between the writes of a report": ("write:set_trial_intermediate_value", 4),
    "between end noted and told": ("write:set_trial_state_values:COMPLETE", 1),
    "before the run of a trial is made in MLflow": ("mlflow:create_run", 1),
    "while MLflow delivery is pending": ("mlflow:log_batch", 3),
    "before a run is closed in MLflow": ("mlflow:set_terminated", 1),
}
BY_SEED, BY_CLOCK = 8, 3


@pytest.fixture(scope="module")
def reference(make_sweep: MakeSweep) -> tuple[list[Json], int]:
    """What the sweep decides when nobody disturbs it, and how often it writes."""
    sweep = make_sweep(runner=ONE)
    told = sweep.run_counting()
    sweep.check()
    return story(sweep), sum(label.startswith("write:") for label in told["labels"])


def test_in_every_window(make_sweep: MakeSweep, reference: tuple[list[Json], int], note_fault: NoteFault) -> None:
    sweep = make_sweep(runner=ONE)
    for before, nth in WINDOWS.values():
        sweep.run_to(before, nth)
    sweep.turn(saving=0.5)
    sweep.run_until(sweep.after("saving", 2), lambda pid: os.kill(pid, signal.SIGKILL))
    sweep.turn()
    sweep.run()
    note_fault("driver SIGKILLed, once in each window", sweep.check())
    assert story(sweep) == reference[0]


def test_before_any_write(make_sweep: MakeSweep, reference: tuple[list[Json], int], note_fault: NoteFault) -> None:
    """Moments are drawn from all writes of the undisturbed sweep; a restart adds some, so none comes too late."""
    numbers = random.Random(SEED)
    moments = sorted(numbers.sample(range(1, int(0.85 * reference[1])), BY_SEED))
    sweep = make_sweep(runner=ONE)
    for last, this in zip([0, *moments], moments):  # noqa: B905
        sweep.run_to("write:", this - last)
    sweep.run()
    note_fault("driver SIGKILLed before a write drawn by seed", sweep.check())
    assert story(sweep) == reference[0]


def test_by_the_clock(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """Two trials at a time, killed from outside after so many seconds of training."""
    numbers = random.Random(SEED)
    sweep = make_sweep(knobs={"seconds": 0.15, "saving": 0.05}, runner={"concurrency": 2})

    def kill(pid: int) -> None:
        time.sleep(numbers.uniform(0.0, 1.0))
        os.kill(pid, signal.SIGKILL)

    for _ in range(BY_CLOCK):
        sweep.run_until(sweep.after("train", 2), kill)
    sweep.turn()
    sweep.run()
    note_fault("driver SIGKILLed by the clock, two trials at a time", sweep.check())
