"""Where the time goes, and what ends a sweep."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe
from ikd.sweep import TrialRecord
from ikd.sweep.budget import spent_budget
from ikd.sweep.records.ledger import Ledger, ledger
from ikd.sweep.records.trials import Report
from ikd.trial import ATTACK_SECONDS
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import conduct


def trial(number: int, state: Any, *values: float, held: float = 0.0, **fields: Any) -> TrialRecord:
    """Return a trial with a report a second of training, each a second after the one before in held time too."""
    reports = tuple(
        Report(epoch, {"bbox_mAP": value}, float(epoch), 10 * number + epoch, held=1.0 + epoch)
        for epoch, value in enumerate(values, start=1)
    )
    best = max(values, default=None)
    record = TrialRecord(number, "", (), {}, True, str(number), Path(), state, best, 1 if values else None)
    return dataclasses.replace(record, seconds=float(len(values)), held=held, reports=reports, **fields)


def test_every_second_is_counted_once() -> None:
    records = [
        trial(0, "finished", 0.1, 0.2, 0.3, held=4.5, starts=(0.0,)),
        trial(1, "stopped", 0.1, held=3.0, starts=(0.5,)),
        trial(2, "diverged", 0.1, held=7.0, starts=(0.0,)),
        trial(3, "failed", held=2.0, starts=(0.0,)),
        # two reports until held 3, killed at 5.5, went on and trained a third epoch
        trial(4, "running", 0.1, 0.2, 0.3, held=9.0, starts=(0.0, 5.5)),
    ]
    found = ledger(records)
    # the third report of trial 4 lies at held 4: of the 1.5 s that its first attempt had left, an epoch is a second
    assert found == Ledger(useful=3.0, stopped=1.0, wasted=9.0, open=3.0, retried=1.0, start_up=1.5 + 2.0 + 5.0)
    assert found.total == sum(record.held for record in records)
    parts = "3 s useful, 1 s stopped early, 9 s wasted, 3 s of open trials, 1 s retried, 8 s start-up"
    assert found.render(0.0) == f"time of trials: 26 s ({parts})"
    assert found.render(2.0).startswith("GPU time: 51 s (6 s useful")


def test_perturbations_that_a_trial_made_for_all_are_counted_apart() -> None:
    record = trial(0, "finished", 0.1, 0.2, held=9.0, starts=(0.0,))
    first, *rest = record.reports
    made = dataclasses.replace(first, metrics={**first.metrics, ATTACK_SECONDS: 4.0})
    found = ledger([dataclasses.replace(record, reports=(made, *rest))])
    assert found == Ledger(useful=2.0, attacks=4.0, start_up=3.0)
    assert "4 s making perturbations" in found.render(0.0)


def test_an_attempt_that_was_still_preparing_is_no_retry() -> None:
    """What it made, a teacher for instance, is kept: nothing is done twice."""
    found = ledger([trial(0, "waiting", held=200.0, starts=(0.0, 199.0))])
    assert found == Ledger(start_up=200.0)
    assert "retried" not in found.render(0.0)


def test_a_worker_that_dies_is_charged_what_it_lost(open_study: OpenStudy, recipe: Recipe) -> None:
    """Also over a restart of the driver; times are the driver's own, from handing a trial out to letting it go."""
    now = [0.0]
    study = open_study()
    conductor = conduct(make_space(), recipe, study, runner=make_runner(), clock=lambda: now[0])
    conductor.next_trial()
    now[0] = 3.0
    conductor.started(0, study.records[0].fingerprint)
    now[0] = 13.0
    conductor.report(0, 1, {"bbox_mAP": 0.1}, 9.0)
    now[0] = 20.0
    assert conductor.crashed(0, "killed")
    now[0] = 22.0
    conductor.started(0, study.records[0].fingerprint)
    now[0] = 30.0
    conductor.report(0, 2, {"bbox_mAP": 0.1}, 16.0)
    assert ledger(open_study().records) == ledger(study.records)
    assert ledger(study.records) == Ledger(open=16.0, retried=22.0 - 13.0, start_up=30.0 - 16.0 - 9.0)


def test_a_killed_driver_loses_at_most_one_beat_of_the_clock(open_study: OpenStudy, recipe: Recipe) -> None:
    now = [0.0]
    conductor = conduct(make_space(), recipe, open_study(), clock=lambda: now[0])
    conductor.next_trial()
    for now[0] in (5.0, 11.0, 15.0):
        conductor.heartbeat()
    assert open_study().records[0].held == 11.0


BUDGETS: list[tuple[dict[str, Any], list[TrialRecord], str | None]] = [
    ({"gpu_hours": 3 / 3600}, [trial(0, "failed", held=2.5)], None),
    ({"gpu_hours": 3 / 3600}, [trial(0, "failed", held=2.5), trial(1, "running", held=0.5)], "gpu_hours"),
]


@pytest.mark.parametrize(("budget", "records", "reason"), BUDGETS)
def test_what_ends_a_sweep(budget: dict[str, Any], records: list[TrialRecord], reason: str | None) -> None:
    found = spent_budget(make_space(budget={"trials": 50, **budget}), records, 0.0, 1.0)
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)
