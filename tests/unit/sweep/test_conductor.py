from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ikd.config import Recipe, SweepFiles
from ikd.data import DataRecord, PartRecord
from ikd.sweep.conductor import Conductor
from ikd.sweep.forecast.course import Course
from ikd.sweep.study.database import open_storage
from ikd.tracking import NullTracker
from tests.marks import some
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Death, DyingStudy, SilentWatcher, Worker, conduct, play


def outcome(study: Any) -> list[tuple[Any, ...]]:
    return [(one.number, dict(one.values), one.state, one.metric, one.epochs) for one in study.records]


@pytest.fixture
def uninterrupted(open_study: OpenStudy, recipe: Recipe, tmp_path: Path) -> list[tuple[Any, ...]]:
    study = open_study(tmp_path / "reference")
    play(conduct(make_space(), recipe, study), recipe, Worker())
    return outcome(study)


def test_a_sweep_runs_anchors_first_and_ends_at_its_budget(uninterrupted: list[tuple[Any, ...]]) -> None:
    assert len(uninterrupted) == 8
    assert [state for _, _, state, _, _ in uninterrupted[:2]] == ["finished", "finished"]
    assert {state for _, _, state, _, _ in uninterrupted} == {"finished", "stopped"}, "ASHA must stop some"
    assert all(epochs == 6 for _, _, state, _, epochs in uninterrupted if state == "finished")


@pytest.mark.parametrize("writes", some([13, 0, 2, 34], 2))
def test_a_death_before_any_write_changes_nothing(
    writes: int, open_study: OpenStudy, recipe: Recipe, uninterrupted: list[tuple[Any, ...]]
) -> None:
    """The driver dies again and again, each time `writes` writes later; the sweep ends as if it never had."""
    space, worker = make_space(), Worker()
    for _ in range(200):
        study = open_study()
        if writes:
            DyingStudy(study, writes + 5)  # 5: so that even the smallest gets one write further than recovery
        try:
            play(conduct(space, recipe, study), recipe, worker)
            break
        except Death:
            continue
    assert outcome(study) == uninterrupted
    assert len(set(worker.trained)) == len(worker.trained), "no epoch is trained twice when its checkpoint is there"
    assert {record.state for record in open_study().records} <= {"finished", "stopped"}


def test_the_study_tells_optuna_what_happened(open_study: OpenStudy, recipe: Recipe, tmp_path: Path) -> None:
    study = open_study()
    play(conduct(make_space(), recipe, study), recipe, Worker())
    loaded = optuna.load_study(study_name="s", storage=open_storage(tmp_path, "sqlite"))
    for record, trial in zip(study.records, loaded.trials, strict=True):
        wanted = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED}[record.state]
        assert trial.state is wanted
        assert sorted(trial.intermediate_values) == list(range(1, record.epochs + 1))
        *_, before, last = trial.intermediate_values.values()
        assert trial.value == pytest.approx((before + last) / 2 if record.state == "finished" else last)
        assert math.isnan(record.reports[0].metrics["bbox_APl"]), "all metrics are kept, absent bins too"
    assert set(loaded.trials[3].params) == set(study.records[3].values)


def test_a_larger_budget_extends(open_study: OpenStudy, recipe: Recipe, uninterrupted: list[tuple[Any, ...]]) -> None:
    worker = Worker()
    for trials in (4, 4, 8):
        study = open_study()
        play(conduct(make_space(budget={"trials": trials}), recipe, study), recipe, worker)
        assert len(study.records) == trials
    assert outcome(study) == uninterrupted


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_metric_that_is_not_finite_ends_the_trial_as_diverged(
    value: float | None, open_study: OpenStudy, recipe: Recipe, tmp_path: Path
) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study)
    assignment = conductor.next_trial()
    assert assignment is not None
    conductor.started(0, study.records[0].fingerprint)
    assert not conductor.report(0, 1, {"bbox_mAP": 0.3}, 1.0)
    assert conductor.report(0, 2, {} if value is None else {"bbox_mAP": value}, 2.0)
    assert (study.records[0].state, study.records[0].metric) == ("diverged", 0.3)
    stored = optuna.load_study(study_name="s", storage=open_storage(tmp_path, "sqlite")).trials[0]
    assert (stored.state, stored.value) == (TrialState.PRUNED, 0.0)
    assert stored.intermediate_values == {1: 0.3, 2: 0.0}


def test_anchors_are_never_judged(open_study: OpenStudy, recipe: Recipe) -> None:
    """Both anchors lie far below the sampled trials; without the exemption ASHA would stop them on resume."""
    study = open_study()
    conductor = conduct(make_space(scheduler={"asha": {"grace_epochs": 1}}), recipe, study, runner=make_runner())
    first, second = conductor.next_trial(), conductor.next_trial()
    assert first is not None
    assert second is not None
    for number, value in ((0, 0.9), (1, 0.1)):
        conductor.started(number, study.records[number].fingerprint)
        assert not conductor.report(number, 1, {"bbox_mAP": value}, 1.0)


def test_a_report_already_written_is_not_written_again(open_study: OpenStudy, recipe: Recipe) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study)
    conductor.next_trial()
    conductor.report(0, 1, {"bbox_mAP": 0.3}, 1.0)
    conductor.report(0, 1, {"bbox_mAP": 0.9}, 9.0)
    assert [(one.epoch, one.metrics["bbox_mAP"], one.seconds) for one in study.records[0].reports] == [(1, 0.3, 1.0)]


def test_crashes_are_counted_over_restarts(open_study: OpenStudy, recipe: Recipe) -> None:
    runner = make_runner(trial={"max_retries": 2})
    for again in (True, True, False):
        conductor = conduct(make_space(), recipe, open_study(), runner=runner)
        conductor.next_trial()
        assert conductor.crashed(0, "killed") is again
    record = open_study().records[0]
    assert (record.state, record.crashes) == ("failed", 3)
    assert "crashed 3 times, last: killed" in record.reason


def test_an_interrupt_keeps_trials_for_later(open_study: OpenStudy, recipe: Recipe, tmp_path: Path) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study)
    conductor.next_trial()
    conductor.interrupt("Ctrl-C")
    assert conductor.report(0, 1, {"bbox_mAP": 0.1}, 1.0), "the trial must stop"
    assert conductor.next_trial() is None
    assert not conductor.has_work()
    stored = optuna.load_study(study_name="s", storage=open_storage(tmp_path, "sqlite")).trials
    assert [trial.state for trial in stored] == [TrialState.WAITING], "nothing is left running"
    again = conduct(make_space(), recipe, open_study()).next_trial()
    assert again is not None
    assert again.number == 0


@pytest.mark.parametrize(
    ("budget", "trained"), [({"trials": 8, "epochs": 7}, 7), ({"trials": 8, "gpu_hours": 9 / 3600}, 9)]
)
def test_budgets_end_running_trials_as_stopped(
    budget: dict[str, float], trained: int, open_study: OpenStudy, recipe: Recipe
) -> None:
    study = open_study()
    runner = make_runner(trial={"gpus": 1}, concurrency=1)  # the player spends one second an epoch
    conductor = conduct(make_space(budget=budget), recipe, study, runner=runner)
    play(conductor, recipe, Worker())
    assert sum(record.epochs for record in study.records) == trained
    assert [record.state for record in study.records] == ["finished", "stopped"]
    assert "budget" in study.records[1].reason
    assert conductor.ending is not None
    assert not conductor.has_work()


def test_the_wall_budget_counts_all_starts(open_study: OpenStudy, recipe: Recipe) -> None:
    space = make_space(budget={"trials": 8, "wall_hours": 1.0})
    first = conduct(space, recipe, open_study())
    first._began -= 3000
    first.close()
    second = conduct(space, recipe, open_study())
    assert second.next_trial() is not None
    second._began -= 700
    assert second.next_trial() is None
    assert second.ending is not None
    assert "budget.wall_hours" in second.ending.reason


def test_an_exhausted_space_ends_the_sweep(open_study: OpenStudy, recipe: Recipe) -> None:
    parameters = {"distill.host": {"choice": ["fgd", "mgd"]}, "adversarial.enabled": {"choice": [True, False]}}
    study = open_study()
    conductor = conduct(make_space(parameters=parameters, budget={"trials": 50}), recipe, study)
    play(conductor, recipe, Worker())
    searched = [record for record in study.records if record.role == "search"]
    assert len(searched) == 5, "four configurations, of which the paper is one, and the student alone"
    assert len({record.fingerprint for record in study.records}) == len(study.records) == 5 + 5 + 6
    assert conductor.ending is not None
    assert "exhausted" in conductor.ending.reason
    again = conduct(make_space(parameters=parameters, budget={"trials": 50}), recipe, open_study())
    assert not again.has_work(), "nothing is started to find that out"
    assert again.ending == conductor.ending


def test_a_worker_that_builds_another_recipe_fails_the_trial(open_study: OpenStudy, recipe: Recipe) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study)
    conductor.next_trial()
    assert conductor.started(0, "something else")
    assert study.records[0].state == "failed"


def test_changed_data_interrupt_the_sweep_and_fail_nothing(open_study: OpenStudy, recipe: Recipe) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study, runner=make_runner())
    for _ in range(2):
        conductor.next_trial()
    assert not conductor.data(0, "part", record("a", "b"))
    assert not conductor.data(1, "another part", record("a", "b", boxes=9)), "a space may vary what is trained on"
    assert not conductor.data(1, "part", record("a", "b"))
    assert conductor.data(1, "part", record("b", "a"))
    assert study.records[1].state == "waiting"
    assert conductor.fault is not None
    assert "another order: class 0 was 'a', and is 'b'" in conductor.fault
    assert conductor.note(0, "anything"), "the others stop too"
    assert conductor.next_trial() is None


def test_data_that_are_gone_interrupt_the_sweep_and_fail_nothing(open_study: OpenStudy, recipe: Recipe) -> None:
    """But data that were never there are what one trial was told to train on."""
    study = open_study()
    conductor = conduct(make_space(), recipe, study, runner=make_runner())
    for _ in range(2):
        conductor.next_trial()
    assert not conductor.data(0, "part", record("a"))
    assert conductor.gone(1, "another part", "train_2.json is not there")
    assert (study.records[1].state, study.records[1].reason) == ("failed", "train_2.json is not there")

    study = open_study(study.records[0].directory.parents[1] / "other")
    conductor = conduct(make_space(), recipe, study, runner=make_runner())
    for _ in range(2):
        conductor.next_trial()
        conductor.data(len(study.records) - 1, "part", record("a"))
    assert conductor.gone(0, "part", "train.json is not there")
    assert study.records[0].state == "waiting"
    assert conductor.fault is not None
    assert conductor.fault.startswith("the data set is no longer there: train.json is not there; put it back")
    assert "the same command goes on" in conductor.fault
    assert conductor.note(1, "anything"), "the others stop too"
    assert study.records[1].state == "waiting"
    assert conductor.next_trial() is None


def record(*classes: str, boxes: int = 5) -> dict[str, Any]:
    part = PartRecord(f"content {boxes}", images=3, boxes=boxes)
    return DataRecord(classes, part, part).as_dict()


def test_a_course_is_noted_beside_the_study(open_study: OpenStudy, recipe: Recipe) -> None:
    course = Course()
    files = SweepFiles(make_space(), recipe, make_runner())
    conductor = Conductor(files, study=open_study(), watcher=SilentWatcher(), tracker=NullTracker(), course=course)
    trial = conductor.next_trial()
    assert trial is not None
    conductor.started(0, conductor.records[0].fingerprint)
    conductor.note(0, "teacher big 1/4", making=("teacher big", 1, 4))
    conductor.note(0, "last.pth was cut short")
    conductor.data(0, "part", record("a"))
    conductor.end(0, "failed", "why")
    conductor.closed(0)
    told = [(event.what, event.trial, event.item, event.done, event.total) for event in course.events]
    plain = [("prepared", 0, "", 0, 0), ("left", 0, "", 0, 0)]
    assert told == [("given", 0, "", 0, 0), ("start", 0, "", 0, 0), ("making", 0, "teacher big", 1, 4), *plain]


def test_a_metric_that_no_trial_has_is_the_datas_fault(open_study: OpenStudy, recipe: Recipe) -> None:
    """As of small objects where there are none; a trial that had one before, or whose losses broke, has diverged."""
    study = open_study()
    conductor = conduct(make_space(), recipe, study, runner=make_runner())
    conductor.next_trial()
    assert conductor.report(0, 1, {"bbox_mAP": math.nan, "loss/total": 2.0}, 1.0)
    assert study.records[0].state == "failed"
    assert conductor.fault is not None
    assert "no object to measure it by" in conductor.fault
    assert conductor.next_trial() is None

    other = open_study(study.records[0].directory.parents[1] / "other")
    conductor = conduct(make_space(), recipe, other, runner=make_runner())
    conductor.next_trial()
    conductor.report(0, 1, {"bbox_mAP": math.nan, "loss/total": math.inf}, 1.0)
    assert other.records[0].state == "diverged"
