"""Repeats and trainings kept apart are trials like others: resumed, retried, counted, mirrored, ended by budgets."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ikd.config import Recipe, SearchSpace, SweepFiles
from ikd.sweep import TrialRecord, run_sweep
from ikd.sweep.conductor import Assignment, Conductor
from ikd.sweep.confirm.rounds import ahead_of
from ikd.sweep.forecast.left import Outlook, Situation
from ikd.sweep.look.plain import plain_status
from ikd.sweep.records.ledger import ledger
from ikd.sweep.status import sweep_status
from ikd.sweep.study.folder import sweep_folder, write_files
from ikd.sweep.study.study import SweepStudy
from ikd.tracking import NullTracker
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.fake_training import epoch_metrics
from tests.unit.sweep.player import SilentWatcher, Worker, conduct, play

SEARCH, REPEAT, APART, TRIALS = 6, 6, 8, 12
"""How many are searched, the first that repeats, the first that is kept apart, and all."""
CONFIRM = {"share": 2 / TRIALS, "apart": 2}
ROLES = ["search"] * SEARCH + ["repeat"] * 2 + ["apart"] * 4


def space_of(**changes: Any) -> SearchSpace:
    budget = {"trials": TRIALS, "confirm": CONFIRM, **changes.pop("budget", {})}
    return make_space(**{"scheduler": {"none": {}}, "sampler": {"random": {}}, "budget": budget, **changes})


def until(study: SweepStudy, recipe: Recipe, trials: int, space: SearchSpace | None = None) -> None:
    """Train the first trials of a sweep to their ends."""
    space = space or space_of()
    conductor = conduct(space, recipe, study)
    while len(study.records) < trials:
        assignment = conductor.next_trial()
        assert assignment is not None
        trained(conductor, recipe, assignment)


def recipe_of(assignment: Assignment, recipe: Recipe) -> Recipe:
    """Return what a worker builds."""
    made = recipe.anchor(assignment.anchor) if assignment.anchor else recipe.with_values(assignment.values)
    return made if assignment.seed is None else made.with_values({"seed": assignment.seed})


def trained(conductor: Conductor, recipe: Recipe, assignment: Assignment, *, epochs: int = 6) -> None:
    """Begin a trial, or go on with it, and train it up to an epoch; to its end where it is the last."""
    made, number = recipe_of(assignment, recipe), assignment.number
    assert not conductor.started(number, made.fingerprint())
    for epoch in range(assignment.recorded + 1, epochs + 1):
        conductor.report(number, epoch, epoch_metrics(made, epoch), float(epoch))
    if epochs == made.total_epochs:
        conductor.end(number, "finished", "")


@pytest.mark.parametrize("number", [REPEAT, APART, TRIALS - 1])
def test_they_are_resumed(number: int, open_study: OpenStudy, recipe: Recipe) -> None:
    until(study := open_study(), recipe, number)
    conductor = conduct(space_of(), recipe, study)
    first = conductor.next_trial()
    assert first is not None
    trained(conductor, recipe, first, epochs=2)
    conductor.interrupt("Ctrl-C")
    assert conductor.report(number, 3, epoch_metrics(recipe_of(first, recipe), 3), 3.0)
    assert study.records[number].state == "waiting"
    again = conduct(space_of(), recipe, study := open_study())
    second = again.next_trial()
    assert second is not None
    assert (second.number, second.values, second.seed, second.recorded) == (number, first.values, first.seed, 3)
    assert (second.anchor, second.test) == (first.anchor, number >= APART)
    trained(again, recipe, second)
    play(again, recipe, Worker())
    assert [one.role for one in study.records] == ROLES
    assert {one.state for one in study.records} == {"finished"}


@pytest.mark.parametrize("number", [REPEAT, APART])
def test_they_are_retried(number: int, open_study: OpenStudy, recipe: Recipe) -> None:
    """Until the runner's retries are used up; then they count as had, until a person opens them again."""
    until(study := open_study(), recipe, number)
    conductor = conduct(space_of(), recipe, study, runner=make_runner(trial={"max_retries": 1}))
    conductor.next_trial()
    assert [conductor.crashed(number, "killed") for _ in range(2)] == [True, False]
    assert study.records[number].reason == "crashed 2 times, last: killed"
    play(conductor, recipe, Worker())
    assert [one.role for one in study.records] == ROLES, "another one takes its place in no phase"
    again = conduct(space_of(), recipe, study := open_study())
    assert again.retry_failed() == [number]
    play(again, recipe, Worker())
    assert {one.state for one in study.records} == {"finished"}
    assert len(study.records) == TRIALS


def test_they_are_counted_like_others(open_study: OpenStudy, recipe: Recipe) -> None:
    """A second of the clock for each look at it: all of them are in the ledger, and spend the budget's hours."""
    ticks = itertools.count()
    play(conduct(space_of(), recipe, study := open_study(), clock=lambda: float(next(ticks))), recipe, Worker())
    spent = ledger(study.records)
    assert spent.total == pytest.approx(sum(one.held for one in study.records))
    alone = ledger([one for one in study.records if one.role != "search"])
    assert alone.useful == 6 * 6.0, "two repeats and four kept apart, six epochs of a second"
    assert spent.useful == TRIALS * 6.0


def test_hours_that_are_spent_end_them_too(open_study: OpenStudy, recipe: Recipe) -> None:
    until(study := open_study(), recipe, APART)
    now = [0.0]
    space = space_of(budget={"wall_hours": 1.0})
    conductor = conduct(space, recipe, study, clock=lambda: now[0])
    first = conductor.next_trial()
    assert first is not None
    now[0] = 4000.0
    assert conductor.report(first.number, 1, epoch_metrics(recipe_of(first, recipe), 1), 1.0)
    assert study.records[APART].state == "stopped"
    assert conductor.next_trial() is None
    assert len(study.records) == APART + 1


class Told(NullTracker):
    """A tracker that notes what it is told."""

    def __init__(self) -> None:
        self.begun: dict[int, tuple[str, Mapping[str, Any]]] = {}
        self.steps: list[tuple[int, int]] = []
        self.ends: dict[int, str] = {}

    def start_trial(self, number: int, *, name: str, tags: Mapping[str, Any], **more: Any) -> None:
        self.begun[number] = (name, tags)

    def log(self, number: int, epoch: int, metrics: Mapping[str, float], *, time: float | None = None) -> None:
        self.steps.append((number, epoch))

    def end_trial(self, number: int, state: str, reason: str = "", *, time: float | None = None) -> None:
        self.ends[number] = state


def test_they_are_mirrored_with_what_they_are_for(open_study: OpenStudy, recipe: Recipe) -> None:
    study, tracker = open_study(), Told()
    files = SweepFiles(space_of(), recipe, make_runner())
    play(Conductor(files, study=study, watcher=SilentWatcher(), tracker=tracker), recipe, Worker())
    assert tracker.ends == dict.fromkeys(range(TRIALS), "finished")
    assert sorted(tracker.steps) == [(number, epoch) for number in range(TRIALS) for epoch in range(1, 7)]
    told = [(tags.get("role"), tags.get("of")) for _, tags in tracker.begun.values()]
    assert told[SEARCH:] == [(one.role, str(one.of)) for one in study.records[SEARCH:]]
    assert {of for _, of in told[:SEARCH]} == {None}
    names = [name for name, _ in tracker.begun.values()]
    assert names[REPEAT].endswith(f"again, seed {study.records[REPEAT].values['seed']}")
    assert names[APART].endswith("kept apart, seed 1000")


def test_a_phase_is_announced_when_it_begins(open_study: OpenStudy, recipe: Recipe) -> None:
    said: list[str] = []

    class Listening(SilentWatcher):
        def say(self, text: str) -> None:
            said.append(text)

    files = SweepFiles(space_of(), recipe, make_runner())
    play(Conductor(files, study=open_study(), watcher=Listening(), tracker=NullTracker()), recipe, Worker())
    assert said == ["repeats: 0 of 2; then 4 trainings kept apart", "kept apart: 0 of 4 trainings"]


def test_patience_ends_the_search_and_lets_what_runs_come_to_its_end(open_study: OpenStudy, recipe: Recipe) -> None:
    """Also the second start of the same command: it has nothing to do, and says why."""
    space = space_of(budget={"trials": 40, "patience": 3, "confirm": {"share": 0.05, "apart": 2}})
    conductor = conduct(space, recipe, study := open_study(), runner=make_runner(concurrency=2))
    play(conductor, recipe, Worker())
    counts = {role: sum(one.role == role for one in study.records) for role in ("search", "repeat", "apart")}
    assert counts["search"] < 34
    assert (counts["repeat"], counts["apart"]) == (2, 4)
    assert {one.state for one in study.records} == {"finished"}
    assert conductor.ending is not None
    assert conductor.ending.kind == "over"
    assert "budget.patience" in conductor.ending.reason
    again = conduct(space, recipe, open_study())
    assert not again.has_work()
    assert again.ending == conductor.ending


def test_a_forecast_holds_them(open_study: OpenStudy, recipe: Recipe) -> None:
    """Whole trainings, where the search's may be stopped; of both sides what is kept apart."""
    space = space_of(scheduler={"asha": {"grace_epochs": 2}})
    study = open_study()

    def left(records: Any) -> tuple[int, float, int]:
        files = SweepFiles(space, recipe, make_runner())
        ahead = ahead_of(space, recipe, records)
        found = Outlook(Situation(files, records, [], slots=2, ahead=ahead, now=None)).forecast()
        return found.trials, found.epochs, found.epochs_bound

    # two anchors, four that are stopped at epoch 2 or go on as m rivals let them, two repeats and four kept apart
    trials, epochs, bound = left([])
    assert (trials, bound) == (12, 72)
    assert epochs == pytest.approx(2 * 6 + sum(2 + 4 * (m + 2) / 3 / (m + 1) for m in range(2, 6)) + 6 * 6)
    until(study, recipe, REPEAT, space)
    assert left(study.records) == (6, 36.0, 36)
    until(study, recipe, TRIALS - 1, space)
    assert left(study.records) == (1, 6.0, 6)
    until(study, recipe, TRIALS, space)
    assert left(study.records) == (0, 0.0, 0)


def test_the_status_says_where_the_sweep_is(open_study: OpenStudy, recipe: Recipe) -> None:
    folder = sweep_folder("s")
    folder.path.mkdir(parents=True)
    write_files(folder, SweepFiles(space_of(), recipe, make_runner()))
    said = []
    for number in (SEARCH - 1, REPEAT + 1, APART + 3, TRIALS):
        until(open_study(folder.path), recipe, number)
        status = sweep_status("s")
        said.append(status.phase)
        assert plain_status(status)["phase"] == (status.phase or None)
        text = io.StringIO()
        Console(file=text, width=200).print(status.render())
        assert status.phase in text.getvalue()
    assert said == [
        "search: 5 of 6 trials; then 2 repeats and 4 trainings kept apart",
        "repeats: 1 of 2; then 4 trainings kept apart",
        "kept apart: 3 of 4 trainings",
        "",
    ]


def test_a_sweep_is_extended_and_confirmed_again(
    recipe: Recipe, ikd_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept apart stays so, and a complete sweep that only patience has ended begins nothing."""
    begun: list[int] = []

    def work(drive: Any, training: str) -> None:
        begun.append(len(drive._study.records))
        play(drive._conductor, recipe, Worker())

    monkeypatch.setattr("ikd.sweep.driver._Drive._work", work)

    def swept(trials: str | None = None, name: str = "s", **budget: Any) -> list[TrialRecord]:
        options: dict[str, Any] = {"output": Console(file=io.StringIO()), "training": "tests.unit.sweep.fake_training"}
        space = space_of(budget=budget)
        result = run_sweep(space, recipe=recipe, runner=make_runner(), name=name, trials=trials, **options)
        assert (result.state, sweep_status(name).state) == ("finished", "complete")
        return [replace(one, held=0.0, reports=()) for one in result.trials]  # without what is NaN, or not written yet

    first = swept()
    assert [one.role for one in first] == ROLES
    longer = swept("+12")
    assert longer[:TRIALS] == first
    assert [one.role for one in longer[TRIALS:]] == ROLES
    apart = [{one.values["seed"] for one in part if one.role == "apart"} for part in (first, longer[TRIALS:])]
    assert apart == [{1000, 1001}, {1002, 1003}]
    assert swept("24") == longer
    assert begun == [0, TRIALS], "nothing is left to do"
    vain = swept("60", "vain", patience=2)
    assert len(vain) < 60
    assert swept("60", "vain", patience=2) == vain
    assert begun == [0, TRIALS, 0], "nor is anything started to find that out"
