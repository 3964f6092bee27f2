"""What a forecast is made of: costs of epochs, rungs that stop, what is kept, what happened when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ikd.config import Recipe, SweepFiles
from ikd.sweep.confirm.rounds import Ahead
from ikd.sweep.forecast.attempts import attempts_of
from ikd.sweep.forecast.course import Course, Event, read_course
from ikd.sweep.forecast.epochs import NOW, EpochCost, Seen, features_of
from ikd.sweep.forecast.kept import epoch_row, keep, place, read_kept
from ikd.sweep.forecast.left import Outlook, Situation
from ikd.sweep.forecast.survival import Survival
from ikd.sweep.forecast.wants import wants
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.sweep.schedulers.judges import build_judge
from tests.unit.sweep.conftest import make_runner, make_space, with_teachers
from tests.unit.sweep.view.test_table import record

ALONE = {"student": "s", "teacher": "none", "attacked": "no", "when": NOW}


def test_a_kind_of_epoch_that_was_seen_takes_what_it_took() -> None:
    taught = {**ALONE, "teacher": "t"}
    cost = EpochCost([Seen(ALONE, 4.0, 20), Seen(taught, 8.0, 20)])
    assert cost(ALONE) == pytest.approx(4.0, rel=0.05)
    assert cost(taught) == pytest.approx(8.0, rel=0.05)
    assert not EpochCost([]).known


def test_what_was_never_seen_is_assumed_from_what_was() -> None:
    cost = EpochCost([Seen(ALONE, 4.0, 9)])
    assert cost({**ALONE, "teacher": "t"}) == pytest.approx(4.0 * 1.25)
    assert cost({**ALONE, "teacher": "t", "attacked": "disk"}) == pytest.approx(4.0 * 1.25 * 1.45)
    assert cost({**ALONE, "student": "wide"}) == pytest.approx(4.0, rel=0.2)


def test_epochs_of_other_days_are_taken_at_the_pace_of_this_one() -> None:
    before = Seen({**ALONE, "when": "sweep earlier"}, 4.0, 20)
    assert EpochCost([before], pace=2.0)(ALONE) == pytest.approx(8.0, rel=0.1)
    assert EpochCost([before, Seen(ALONE, 5.0, 20)], pace=2.0)(ALONE) == pytest.approx(5.0, rel=0.1)


def test_what_an_epoch_costs_by_ends_with_the_copies(recipe: Recipe) -> None:
    (plan,) = recipe.stages
    assert [features_of(plan, epoch)["attacked"] for epoch in (1, 4, 5)] == ["disk", "disk", "no"]
    (alone,) = recipe.student_alone().stages
    found = features_of(alone, 1)
    assert (found["teacher"], found["attacked"], found["host"]) == ("none", "no", "none")
    wide = recipe.with_values({"student.arguments.base_channels": 24}).stages[0]
    assert features_of(wide, 1)["student"] != features_of(plan, 1)["student"]


def test_rungs_stop_as_many_as_they_did(recipe: Recipe) -> None:
    judge = build_judge(make_space(), recipe)
    fresh = Survival(judge, [])
    assert fresh.last_epoch(3, (6,)) == pytest.approx(2 * 7 / 12 + 6 * 5 / 12), "of three rivals and it one in 12 / 5"
    assert fresh.last_epoch(3, (6,), done=2) == pytest.approx(6), "who has passed the last rung trains to the end"
    assert fresh.last_epoch(3, (6,), done=1) == fresh.last_epoch(3, (6,)), "never below the epoch that comes"
    passed = [replace(record(n, f"{n}", 0.3), stage_ends=(6,)) for n in range(6)]
    assert Survival(judge, passed).last_epoch(9, (6,)) > 4.5
    stopped = [replace(record(n, f"{n}", 0.3, epochs=2, state="stopped"), stage_ends=(6,)) for n in range(6)]
    assert Survival(judge, stopped).last_epoch(9, (6,)) < 2.5


def test_what_is_kept_is_found_again_and_nonsense_passed_over(ikd_home: Path) -> None:
    keep([epoch_row(ALONE, 3.0, source="sweep a", count=4, checkpoint_bytes=9), {"part": "ray", "seconds": 7.0}])
    with place().open("a") as file:
        file.write('{"epoch": 3}\n[1]\n{"torn')
        file.write("\n")
    keep([{"unit": "teacher x", "seconds": 2.0}])
    kept = read_kept()
    assert [(one.seconds, one.count, one.features["when"]) for one in kept.epochs] == [(3.0, 4.0, "sweep a")]
    assert kept.parts == pytest.approx({"ray": 7.0})
    assert kept.units == {"teacher x": 2.0, "teacher": 2.0}
    assert (kept.checkpoint_bytes, kept.sources) == ({"s": 9}, {"s": "sweep a"})


def test_parts_of_the_latest_sweeps_count_together(ikd_home: Path) -> None:
    keep({"part": "ray", "seconds": seconds} for seconds in (900.0, 2.0, 8.0, 4.0, 4.0, 4.0))
    assert read_kept().parts == pytest.approx({"ray": 4.0})


def test_a_course_is_read_as_it_was_written(tmp_path: Path) -> None:
    course = Course(tmp_path / "course.jsonl", clock=lambda: 12.3456)
    course.note("begin")
    course.note("given", 0)
    course.note("making", 0, "teacher big", 0, 4)
    with (tmp_path / "course.jsonl").open("a") as file:
        file.write('[13.0, "gi')
    told = [Event(12.346, "begin"), Event(12.346, "given", 0), Event(12.346, "making", 0, "teacher big", 0, 4)]
    assert course.events == read_course(tmp_path / "course.jsonl") == told
    assert Course(tmp_path / "gone" / "course.jsonl").events == []


def test_a_killed_driver_leaves_no_attempt_open() -> None:
    events = [Event(0, "begin"), Event(1, "given", 0), Event(2, "start", 0), Event(9, "begin"), Event(10, "given", 0)]
    first, second = attempts_of([], events, 1)
    assert (first.left, first.cold, second.left, second.cold) == (9, True, None, True)


def test_what_recipes_share_is_one_thing(recipe: Recipe) -> None:
    one, other = wants(recipe), wants(recipe.with_values({"distill.host": "mgd", "seed": 3}))
    assert one == other
    assert [want.kind for want in one] == ["teacher", "perturbations"]
    assert [want.kind for want in wants(recipe.with_values({"attack.steps": 7}))] == ["teacher", "perturbations"]
    assert wants(recipe.with_values({"attack.steps": 7}))[1] != one[1]
    assert wants(recipe.student_alone()) == ()
    two = wants(with_teachers(recipe, "a", "b"))
    assert [(want.kind, want.teacher) for want in two if want.kind == "teacher"] == [("teacher", "a"), ("teacher", "b")]
    at_once = with_teachers(recipe, "a", "b").with_values({"teachers.together": True})
    assert set(wants(at_once)) == set(two)
    (plan,) = at_once.stages
    assert features_of(plan, 1)["teacher"] == " ".join(
        features_of(at_once.taught_by(name).stages[0], 1)["teacher"] for name in ("a", "b")
    )


def running(recipe: Recipe, *, slots: int, budget: int, now: float) -> Situation:
    """Return a sweep of which the first trial has had two of six epochs, ten seconds each."""
    space = make_space(scheduler={"none": {}}, anchors=[], budget={"trials": budget}).checked(recipe)
    reports = tuple(Report(n, {"bbox_mAP": 0.1}, 10.0 * n, n, 10.0 * n, 10.0 + 10 * n) for n in (1, 2))
    one = TrialRecord(0, "0", (), {}, True, "0", Path(), reports=reports, stage_ends=(6,), began=5.0)
    events = [Event(0, "begin"), Event(5, "given", 0), Event(9, "start", 0), Event(10, "prepared", 0)]
    runner = make_runner(concurrency=slots)
    files = SweepFiles(space, recipe, runner)
    return Situation(files, [one], events, slots=slots, ahead=Ahead(budget - 1), now=now)


def test_places_of_the_runner_share_the_work(recipe: Recipe) -> None:
    plain = recipe.with_values({"adversarial.enabled": False, "augment.enabled": False})
    alone = Outlook(running(plain, slots=1, budget=4, now=30.0)).forecast().seconds
    two = Outlook(running(plain, slots=2, budget=4, now=30.0)).forecast().seconds
    assert alone is not None
    assert two is not None
    assert 220 < alone < 260, "four epochs of one and three whole trials"
    assert 0.45 * alone < two < 0.75 * alone


def test_an_epoch_that_takes_long_is_still_to_come(recipe: Recipe) -> None:
    plain = recipe.with_values({"adversarial.enabled": False, "augment.enabled": False})
    late = Outlook(running(plain, slots=1, budget=1, now=500.0)).forecast()
    assert late.seconds is not None
    assert late.seconds > 3 * 10
    assert late.epochs == 4


def test_a_budget_of_trials_that_is_no_limit_is_looked_at_in_part(recipe: Recipe) -> None:
    """Nobody's driver stands still over trials that hours, epochs or a target will end long before."""
    plain = recipe.with_values({"adversarial.enabled": False, "augment.enabled": False})
    many = running(plain, slots=2, budget=100_001, now=30.0)
    forecast = Outlook(many).forecast()
    whole = 1 + 100_000
    assert forecast.trials == whole
    assert forecast.epochs_bound == 4 + 100_000 * 6
    assert forecast.epochs == pytest.approx(forecast.epochs_bound)
    some = Outlook(running(plain, slots=2, budget=1001, now=30.0)).forecast()
    assert forecast.seconds is not None
    assert some.seconds is not None
    assert forecast.seconds == pytest.approx(100 * some.seconds, rel=0.01)
    rule = make_space(scheduler={"asha": {}}, anchors=[], budget={"trials": 100_001, "epochs": 60}).checked(plain)
    limited = replace(many, files=SweepFiles(rule, plain, many.files.runner))
    assert (Outlook(limited).forecast().epochs, Outlook(limited).forecast().epochs_bound) == (58, 58)


@pytest.mark.parametrize(
    ("ahead", "kept"), [((5, 1, 2), (5, 1, 2)), ((800, 100, 100), (80, 10, 10)), ((999, 0, 1), (100, 0, 0))]
)
def test_those_looked_at_are_of_each_kind_in_proportion(ahead: tuple[int, ...], kept: tuple[int, ...]) -> None:
    assert Ahead(*ahead).at_most(100) == Ahead(*kept)
