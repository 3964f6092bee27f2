"""Population-based training through the conductor: who goes on from whom, over deaths of the driver."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from ikd.config import Recipe, SearchSpace
from ikd.sweep import TrialRecord
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Death, DyingStudy, conduct

ALPHA = "distill.mgd.alpha"


@pytest.fixture
def space() -> SearchSpace:
    return make_space(
        parameters={ALPHA: {"log_uniform": [1e-7, 1e-3]}}, sampler={"random": {}}, anchors=[],
        scheduler={"pbt": {"interval_epochs": 2, "quantile": 0.5}}, budget={"trials": 2},
    )  # fmt: skip


@pytest.fixture
def base(recipe: Recipe) -> Recipe:
    return recipe.with_values({"distill.host": "mgd", "schedule.epochs": 4})


def two_epochs(conductor: Any, number: int, value: float) -> bool:
    conductor.started(number, conductor.records[number].fingerprint)
    first = conductor.records[number].epochs + 1
    assert not conductor.report(number, first, {"bbox_mAP": value / 2}, first)
    return bool(conductor.report(number, first + 1, {"bbox_mAP": value}, first + 1))


def test_the_worse_goes_on_from_the_better(space: SearchSpace, base: Recipe, open_study: OpenStudy) -> None:
    study = open_study()
    conductor = conduct(space, base, study, runner=make_runner())
    for number in (0, 1):
        conductor.next_trial()
        conductor.started(number, study.records[number].fingerprint)
    assert not two_epochs(conductor, 0, 0.4)
    before = dict(study.records[1].values)
    assert two_epochs(conductor, 1, 0.2), "it must leave its worker"
    record = study.records[1]
    assert (record.state, record.proposed) == ("waiting", before)
    assert [(one.epoch, one.source) for one in record.exploits] == [(2, 0)]
    assert record.values != before
    assert record.fingerprint == base.with_values(record.values).fingerprint()
    assert open_study().records[1] == record, "the study alone tells the same"
    assignment = conductor.next_trial()
    assert assignment is not None
    assert (assignment.number, assignment.start, assignment.recorded) == (1, (0, 2), 2)
    assert assignment.values == record.values
    assert not two_epochs(conductor, 1, 0.3), "at its end nothing is taken over"
    conductor.end(1, "finished", "")
    assert study.records[1].best == 0.3


def test_a_death_at_any_write_parts_no_report_from_its_exploit(
    space: SearchSpace, base: Recipe, open_study: OpenStudy, tmp_path: Path
) -> None:
    found: list[TrialRecord] = []
    for writes in range(1, 15):
        study = open_study(tmp_path / str(writes))
        conductor = conduct(space, base, study, runner=make_runner())
        for number in (0, 1):
            conductor.next_trial()
            conductor.started(number, study.records[number].fingerprint)
        DyingStudy(study, writes)
        with contextlib.suppress(Death):
            two_epochs(conductor, 0, 0.4)
            two_epochs(conductor, 1, 0.2)
        found.append(open_study(tmp_path / str(writes)).records[1])
    assert {one.epochs for one in found} == {0, 1, 2}, "deaths before, between and after its reports"
    assert all(bool(one.exploits) == (one.epochs == 2) for one in found)
