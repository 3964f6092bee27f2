"""When a sweep ends because going on would be a waste, and what --retry-failed and --force do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ikd.config import Recipe
from ikd.errors import BadInput
from ikd.sweep import run_sweep
from ikd.sweep.conductor import FORCED, Conductor
from ikd.sweep.hopeless import FLOOR, is_taught, nothing_learnt, without_result
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.database import open_storage
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play

BOTH = ("paper", "student_alone")
MISSING = "teachers.available.big.recipe: must be a readable file, but got 'gone.yaml'"


def begin(conductor: Conductor, recipe: Recipe) -> int:
    assignment = conductor.next_trial()
    assert assignment is not None
    trial = recipe.anchor(assignment.anchor) if assignment.anchor else recipe.with_values(assignment.values)
    trial = trial if assignment.seed is None else trial.with_values({"seed": assignment.seed})
    conductor.started(assignment.number, trial.fingerprint())
    return assignment.number


def finish(conductor: Conductor, recipe: Recipe, value: float) -> int:
    number = begin(conductor, recipe)
    for epoch in range(1, recipe.total_epochs + 1):
        if conductor.report(number, epoch, {"bbox_mAP": value}, float(epoch)):
            return number
    conductor.end(number, "finished", "")
    return number


def test_a_misfit_of_the_first_taught_trial_ends_the_sweep(open_study: OpenStudy, recipe: Recipe) -> None:
    study = open_study()
    conductor = conduct(make_space(anchors=["student_alone"]), recipe, study)
    finish(conductor, recipe, 0.3)  # that one needs no teacher, and says nothing of the others
    number = begin(conductor, recipe)
    assert conductor.misfit(number, MISSING)
    assert conductor.ending is not None
    assert (conductor.ending.kind, study.records[number].state) == ("failed", "failed")
    assert MISSING in conductor.ending.reason
    assert "--retry-failed" in conductor.ending.reason
    assert conductor.next_trial() is None
    assert not conductor.has_work()


def test_running_trials_wait_when_a_misfit_ends_the_sweep(open_study: OpenStudy, recipe: Recipe) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study)
    conductor.slots = 2
    first, second = begin(conductor, recipe), begin(conductor, recipe)
    conductor.misfit(first, MISSING)
    assert conductor.report(second, 1, {"bbox_mAP": 0.2}, 1.0)
    assert study.records[second].state == "waiting"


def test_a_misfit_after_another_has_trained_is_that_trials_own(open_study: OpenStudy, recipe: Recipe) -> None:
    study = open_study()
    conductor = conduct(make_space(anchors=["paper"]), recipe, study)
    finish(conductor, recipe, 0.3)
    conductor.misfit(begin(conductor, recipe), MISSING)
    assert conductor.ending is None
    assert conductor.next_trial() is not None


def test_a_misfit_of_the_student_alone_is_met_with_a_teacher_too(open_study: OpenStudy, recipe: Recipe) -> None:
    conductor = conduct(make_space(anchors=["student_alone"]), recipe, open_study())
    conductor.misfit(begin(conductor, recipe), "data: nothing is taught")
    assert conductor.ending is not None


def test_failed_trials_are_tried_again_as_the_same_trials(
    open_study: OpenStudy, recipe: Recipe, tmp_path: Path
) -> None:
    space, study = make_space(anchors=["paper"], budget={"trials": 3}), open_study()
    conductor = conduct(space, recipe, study)
    finish(conductor, recipe, 0.3)
    failed = begin(conductor, recipe)
    conductor.report(failed, 1, {"bbox_mAP": 0.1}, 1.0)
    conductor.crashed(failed, "out of luck")
    conductor.end(failed, "failed", "out of luck")
    finish(conductor, recipe, 0.2)
    assert not conductor.has_work()

    study = open_study()
    again = conduct(space, recipe, study)
    assert not again.has_work()
    assert again.retry_failed() == [failed]
    assert again.retry_failed() == [], "it waits now"
    assert again.has_work()
    reread = open_study().records[failed]
    assert (reread.state, reread.reason, reread.failures, reread.crashes) == ("waiting", "", ("out of luck",), 0)
    assert reread.epochs == 1, "what it had reported stays"
    play(again, recipe, Worker({failed: 1}))
    record = study.records[failed]
    assert (record.state, record.attempts, len(study.records)) == ("finished", 2, 3)
    stored = optuna.load_study(study_name="s", storage=open_storage(tmp_path, "sqlite")).trials
    assert [trial.state for trial in stored] == [TrialState.COMPLETE] * 3
    assert "end" in stored[failed].user_attrs


def test_anchors_that_learn_nothing_end_the_sweep(open_study: OpenStudy, recipe: Recipe) -> None:
    study = open_study()
    conductor = conduct(make_space(), recipe, study)
    finish(conductor, recipe, 0.9 * FLOOR)
    assert conductor.ending is None, "one is to come"
    finish(conductor, recipe, 0.0)
    assert conductor.ending is not None
    for part in ("paper and student alone", "input.scale", "schedule.epochs", "ikd data check", "--force"):
        assert part in conductor.ending.reason
    again = conduct(make_space(), recipe, open_study())
    assert not again.has_work(), "nor does the same command go on"
    study = open_study()
    study.note(FORCED, True)
    assert conduct(make_space(), recipe, open_study()).has_work(), "--force is remembered"


def record(number: int, metric: float | None, state: Any = "finished", **changes: Any) -> TrialRecord:
    anchors = (BOTH[number],) if number < 2 else ()
    return TrialRecord(number, str(number), anchors, {}, True, str(number), Path(), state, metric, **changes)


@pytest.mark.parametrize(
    ("records", "space"),
    [
        ([record(0, 0.0), record(1, FLOOR)], {}),
        ([record(0, 0.0)], {}),
        ([record(0, 0.0), record(1, 0.0, "running")], {}),
        ([record(0, None, "failed"), record(1, None, "failed")], {}),
        ([record(2, 0.0), record(3, 0.0)], {"anchors": []}),
        ([record(0, 0.0), record(1, 0.0)], {"objective": {"metric": "bbox_mAP", "mode": "min"}}),
    ],
)
def test_what_says_nothing_of_the_trials_to_come_ends_nothing(records: list[TrialRecord], space: Any) -> None:
    assert nothing_learnt([record(0, 0.0), record(1, 0.0)], make_space())
    assert nothing_learnt(records, make_space(**space)) == ""


def test_a_sweep_is_for_trials_with_a_teacher(recipe: Recipe) -> None:
    alone = record(1, 0.3)
    assert not is_taught(alone, [], recipe)
    assert is_taught(record(0, 0.3), [], recipe)
    failed = [record(0, None, "failed", reason="why"), record(2, None, "diverged", reason="worse")]
    text = without_result([alone, *failed], recipe)
    assert text == "no trial with a teacher has a result (1 failed, 1 diverged; the last: worse)"
    assert without_result([alone, *failed, record(3, 0.1, "stopped")], recipe) == ""
    assert without_result([alone], recipe.student_alone()) == ""
    assert without_result([], recipe) == "no trial has a result"


def test_failed_trials_of_a_sweep_that_never_began_are_refused(recipe: Recipe, ikd_home: Path) -> None:
    with pytest.raises(BadInput, match="--retry-failed: must go on with a sweep that has begun, but got 'mistyped'"):
        run_sweep(make_space(), recipe=recipe, runner=make_runner(), name="mistyped", retry_failed=True)
    assert not (ikd_home / "sweeps" / "mistyped").exists()
