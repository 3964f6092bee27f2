"""Deaths in every phase of a sweep: while it searches, repeats, chooses, and trains what is kept apart."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from typing import Any

import pytest

from ikd.sweep import TrialRecord
from tests.faults.conftest import MakeSweep, NoteFault
from tests.faults.sweeps import LIMIT_SECONDS, Json, Sweep, story
from tests.processes import descendants

pytestmark = pytest.mark.fault
SEED = 12
TRIALS = 12
SPACE: Json = {
    "budget": {"trials": TRIALS, "confirm": {"share": 0.2, "apart": 2}},
    "sampler": {"effects": {"startup_trials": 3}},
}
ROLES = ["search"] * 6 + ["repeat"] * 2 + ["apart"] * 4
REPEAT, APART = ROLES.index("repeat"), ROLES.index("apart")
ONE: Json = {"concurrency": 1}
SLOW: Json = {"seconds": 0.3, "saving": 0.05}
BY_SEED = {"search": 1, "repeat": 2, "apart": 2}
"""Deaths before a write drawn by seed, of the first dozen in a phase: so many each."""


def made(make_sweep: MakeSweep, **settings: Any) -> Sweep:
    return make_sweep(space=SPACE, **settings)


@pytest.fixture(scope="module")
def reference(make_sweep: MakeSweep) -> list[Json]:
    """What the sweep decides when nobody disturbs it."""
    sweep = made(make_sweep, runner=ONE)
    sweep.run()
    sweep.check(TRIALS)
    records = sweep.records()
    assert [one.role for one in records] == ROLES
    check_kept_apart(records)
    return story(sweep)


def check_kept_apart(records: list[TrialRecord]) -> None:
    """Two sides with pairwise equal seeds, every training another one."""
    assert Counter(one.role for one in records) == Counter(ROLES)
    seeds: dict[int | None, list[int]] = {}
    for one in records[APART:]:
        seeds.setdefault(one.of, []).append(one.values["seed"])
    assert sorted(map(sorted, seeds.values())) == [[1000, 1001]] * 2
    assert len({one.fingerprint for one in records}) == TRIALS


def test_the_driver_in_each_phase_and_between_them(
    make_sweep: MakeSweep, reference: list[Json], note_fault: NoteFault
) -> None:
    numbers, sweep = random.Random(SEED), made(make_sweep, runner=ONE)

    def by_seed(role: str) -> None:
        for nth in numbers.sample(range(2, 13), BY_SEED[role]):
            sweep.run_to("write:", nth, role=role)

    by_seed("search")
    sweep.run_to("write:create_new_trial:repeat")  # the search is over
    sweep.run_to("write:set_trial_user_attr:starts", role="repeat")  # what is repeated is chosen, and has not begun
    by_seed("repeat")
    sweep.run_to("write:create_new_trial:apart")  # before the choice is written
    sweep.run_to("write:set_trial_user_attr:starts", role="apart")  # and after it
    by_seed("apart")
    sweep.run_to("write:set_study_user_attr:complete_trials")  # all has ended, and nobody has noted that
    sweep.run()
    assert sweep.kills == 10
    note_fault("driver SIGKILLed in each phase of a search and between them", sweep.check(TRIALS))
    assert story(sweep) == reference


def begun(sweep: Sweep, number: int) -> bool:
    """Tell whether a trial trains an epoch that it has not saved yet."""
    trains = [note for note in sweep.notes("train", "epoch") if note["trial"] == number]
    return bool(trains) and trains[-1]["event"] == "train"


def worker_of(sweep: Sweep, number: int) -> int:
    return int(next(note["pid"] for note in reversed(sweep.notes("start")) if note["trial"] == number))


def test_the_workers_of_repeats_and_of_what_is_kept_apart(
    make_sweep: MakeSweep, reference: list[Json], note_fault: NoteFault
) -> None:
    """One driver lives through it and tries each again, from its checkpoint."""
    sweep = made(make_sweep, knobs=SLOW, runner={**ONE, "trial": {"max_retries": 1}})
    killed = (REPEAT, APART, TRIALS - 1)
    with sweep.start() as process:
        for number in killed:
            sweep.wait_for(lambda n=number: begun(sweep, n), process)  # type: ignore[misc]
            os.kill(worker_of(sweep, number), signal.SIGKILL)
            sweep.kills += 1
        process.wait(LIMIT_SECONDS)
    assert process.returncode == 0, sweep.output.read_text()
    note_fault("workers of repeats and of trainings kept apart SIGKILLed", sweep.check(TRIALS))
    assert [one.number for one in sweep.records() if one.crashes == 1] == list(killed)
    assert story(sweep) == reference


def test_everything_at_once_with_two_trials_at_a_time(make_sweep: MakeSweep, note_fault: NoteFault) -> None:
    """The driver alone, and with all that it has started; what is kept apart runs beside what is repeated."""
    sweep = made(make_sweep, knobs=SLOW, runner={"concurrency": 2})

    def driver(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    def tree(pid: int) -> None:
        for one in [pid, *descendants(pid)]:
            os.kill(one, signal.SIGKILL)

    for number, kill in ((REPEAT, driver), (APART, tree), (TRIALS - 1, driver)):
        sweep.run_until(lambda n=number: begun(sweep, n), kill)  # type: ignore[misc]
    sweep.turn()
    sweep.run()
    note_fault("driver, and the whole tree, in repeats and kept-apart trainings, two at a time", sweep.check(TRIALS))
    check_kept_apart(sweep.records())
