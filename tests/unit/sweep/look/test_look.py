"""What `ikd list`, `show`, `compare` and `--json` say of sweeps, from their folders alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ikd.cli import app
from ikd.config import Recipe, SweepFiles
from ikd.sweep import sweep_status
from ikd.sweep.study.folder import COMPLETE, sweep_folder, write_files
from ikd.sweep.study.study import SweepStudy
from ikd.sweep.view.curve import plotted
from tests.marks import some
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play

DOCS = (Path(__file__).resolve().parents[4] / "docs" / "commands.md").read_text()
Made = Callable[..., SweepStudy]


@pytest.fixture
def made(recipe: Recipe, ikd_home: Path, open_study: OpenStudy) -> Made:
    """Return what plays a sweep in the home; without `whole`, its driver dies in its second trial."""

    def make(name: str, *, whole: bool = True, trials: int = 5) -> SweepStudy:
        folder, space = sweep_folder(name, ikd_home), make_space(budget={"trials": trials})
        study = open_study(folder.path, name=name)
        write_files(folder, SweepFiles(space, recipe, make_runner(storage=str(ikd_home))))
        conductor = conduct(space, recipe, study, runner=make_runner())
        if whole:
            play(conductor, recipe, Worker())
            study.note(COMPLETE, len(study.records))
            return study
        for anchor in ("paper", "student_alone"):
            given = conductor.next_trial()
            assert given is not None
            conductor.started(given.number, recipe.anchor(anchor).fingerprint())
        conductor.report(0, 1, {"bbox_mAP": 0.25}, 3.0)
        return study

    return make


def said(*arguments: object, columns: int = 100) -> str:
    done = CliRunner().invoke(
        app, [str(one) for one in arguments], env={"COLUMNS": str(columns)}, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.output


def plain(*arguments: object) -> Any:
    """Return what a command prints as JSON; NaN is none."""

    def refuse(text: str) -> None:
        raise AssertionError(text)

    return json.loads(said(*arguments, "--json"), parse_constant=refuse)


def test_all_sweeps_are_listed(made: Made) -> None:
    made("whole")
    made("killed", whole=False)
    lines = said("list", columns=80).splitlines()
    assert lines[0].split() == ["name", "state", "trials", "expected", "last", "change", "data"]
    found = {line.split()[0]: line for line in lines[1:]}
    assert re.search(r"complete +5 of 5 +\d+\.\d \(trial \d\) +\d{4}-\d\d-\d\d \d\d:\d\d +ikd::drawn", found["whole"])
    assert re.search(r"interrupted +0 of 5 +25\.0 \(trial 0\)", found["killed"])
    assert {one["name"]: (one["state"], one["ended"], one["trials"]) for one in plain("list")} == {
        "whole": ("complete", 5, 5),
        "killed": ("interrupted", 0, 2),
    }


def test_no_sweep_and_a_broken_one(made: Made, ikd_home: Path) -> None:
    assert said("list").startswith(f"no sweep under {ikd_home}; ikd sweep FILE")
    assert plain("list") == []
    made("whole")
    (ikd_home / "sweeps" / "torn").mkdir()
    (ikd_home / "sweeps" / "torn" / "sweep.yaml").write_text("space: {")
    text = said("list", columns=500)  # room for the folder, however long its path is
    assert "whole  complete" in text
    assert f"error: {ikd_home}/sweeps/torn/sweep.yaml: must be the file that ikd sweep wrote" in text


def test_a_killed_driver_leaves_interrupted_trials_not_running_ones(made: Made) -> None:
    made("killed", whole=False)
    text = said("status", "killed")
    assert "0 of 5 trials ended (2 interrupted)" in text
    assert "no driver is running; the same ikd sweep command goes on" in " ".join(text.split())
    assert "running " not in text
    assert [one["state"] for one in plain("status", "killed")["trials"]] == ["waiting", "waiting"]


def test_more_trials_than_the_budget_says_now(made: Made, recipe: Recipe) -> None:
    """A sweep that was extended, and then given its first command again."""
    made("s", trials=5)
    write_files(sweep_folder("s"), SweepFiles(make_space(budget={"trials": 3}), recipe, make_runner()))
    status = sweep_status("s")
    assert (status.state, status.progress) == ("complete", "5")
    assert "s: 5 trials ended (" in said("status", "s")


def test_a_complete_sweep_may_have_fewer_trials_than_its_budget(made: Made, recipe: Recipe) -> None:
    """Its space is exhausted, or another budget has ended it."""
    made("s", trials=5)
    write_files(sweep_folder("s"), SweepFiles(make_space(budget={"trials": 50, "epochs": 9}), recipe, make_runner()))
    assert sweep_status("s").state == "complete"
    assert "5 of 50 trials ended" in said("status", "s")


def test_a_sweep_says_what_it_searches(made: Made) -> None:
    made("s")
    text = said("show", "s")
    for expected in (
        r"recipe +drawn_r18: RetinaNet",
        r"anchor paper +trial 0, \d+\.\d, finished",
        r"anchor student alone +trial 1",
        r"distill\.host +│ choice +│ fgd \| mgd",
        r"objective +bbox_mAP, the larger the better",
        r"budget +5 trials",
        r"choice +chosen: trial \d",
        r"exported +trial \d",
    ):
        assert re.search(expected, text), expected


def test_a_trial_is_a_difference_to_its_recipe(made: Made, recipe: Recipe) -> None:
    study = made("s")
    number = next(one.number for one in study.records if not one.anchors)
    record = study.records[number]
    text, sheet = said("show", "s", number), plain("show", "s", number)
    shown = text.partition("differs from the recipe in")[2]
    alpha = next(name for name in record.values if name.endswith("alpha"))
    assert re.search(rf"{alpha} +{recipe.value(alpha):.3g} +{record.values[alpha]:.3g}", shown)
    assert sheet["changes"][alpha] == {"base": recipe.value(alpha), "trial": record.values[alpha]}
    assert [one["epoch"] for one in sheet["curve"]] == list(range(1, record.epochs + 1))
    assert f"bbox_mAP x100 by epoch:\n● trial {number}" in text
    assert "against paper" in text
    assert said("show", "s", 0).count("differs from the recipe in nothing") == 1


def test_a_stopped_trial_says_why_and_a_log_is_shown(made: Made) -> None:
    study = made("s", trials=8)
    stopped = next(one for one in study.records if one.state == "stopped")
    text = said("show", "s", stopped.number)
    assert re.search(r"state +stopped \(ASHA at epoch 2: \d+\.\d against a cut of \d+\.\d\)", text)
    assert re.search(r"epochs +2 trained of 6 planned", text)
    folder = stopped.directory
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    assert '{"epoch": 1}' in said("show", "s", stopped.number)
    (folder / "train.log").write_text("".join(f"line {k}\n" for k in range(40)))
    lines = plain("show", "s", stopped.number)["log"]
    assert lines == [f"line {k}" for k in range(25, 40)]
    assert "line 39" in said("show", "s", stopped.number)


def test_two_trials_side_by_side_show_only_what_differs(made: Made) -> None:
    study = made("s")
    other = next(one for one in study.records if not one.anchors)
    text = said("compare", "s", 0, other.number)
    alpha = next(name for name in other.values if name.endswith("alpha"))
    assert re.search(rf"{alpha} .*{other.values[alpha]:.3g}", text)
    assert "schedule.epochs" not in text, "the same in both"
    assert re.search(r"bbox_mAP x100 +\d+\.\d +\d+\.\d +([+-]\d+\.\d|0\.0)", text)
    assert re.search(r"against student alone", text)
    assert "differ in nothing" in said("compare", "s", 0, 0)


@pytest.mark.parametrize("command", [["show", "s", "9"], ["compare", "s", "0", "9"], ["show", "s", "-1"]])
def test_a_trial_that_is_not_there_is_named(made: Made, command: list[str]) -> None:
    made("s")
    done = CliRunner().invoke(app, command)
    assert done.exit_code != 0
    if command[-1] == "9":
        assert "sweep s: trial: must be one of its trials (0 to 4), but got 9" in str(done.exception)


def test_every_field_of_the_json_is_documented(made: Made) -> None:
    made("s")
    listed, status, sheet, trial = plain("list"), plain("status", "s"), plain("show", "s"), plain("show", "s", 2)
    assert isinstance(status["trials"], list)
    compared = plain("compare", "s", 0, 2)
    assert compared["trials"][1] == trial
    assert [pair[1] for pair in compared["differences"].values()][:1] != [None]
    for found in (listed[0], status, status["trials"][0], sheet, trial, compared):
        for field in found:
            assert f"`{field}`" in DOCS, field
    assert "study" not in sheet["runner"], "it may hold a password"
    assert "storage" not in sheet["runner"]


@pytest.mark.parametrize("columns", some([80, 100], 1))
@pytest.mark.parametrize(
    "command", [["list"], ["status", "s"], ["show", "s"], ["show", "s", 2], ["compare", "s", 0, 2], ["recipe", "list"]]
)
def test_no_line_is_wider_than_the_terminal(made: Made, columns: int, command: list[object], ikd_home: Path) -> None:
    made("s")
    text = said(*command, columns=columns).replace(str(ikd_home), "/home")
    assert [line for line in text.splitlines() if len(line) > columns] == []
    assert "…" not in text


class TestCurves:
    def test_higher_values_stand_higher(self) -> None:
        lines = plotted([[(1, 0.1), (2, 0.2), (3, 0.3)]], width=40, height=3)
        assert [line.index("●") for line in lines[:3]] == sorted((line.index("●") for line in lines[:3]), reverse=True)
        assert lines[0].startswith("30.0 ┤")
        assert lines[2].startswith("10.0 ┤")
        assert lines[-1].endswith("epoch 3")

    def test_a_second_curve_lies_behind_the_first(self) -> None:
        lines = plotted([[(1, 0.2)], [(1, 0.2), (2, 0.1)]], width=40, height=2)
        assert (lines[0].count("●"), lines[0].count("·"), lines[1].count("·")) == (1, 0, 1)

    @pytest.mark.parametrize("curves", [[[]], [[(1, float("nan"))]], []])
    def test_without_a_value_there_is_nothing(self, curves: list[list[tuple[int, float]]]) -> None:
        assert plotted(curves, width=40) == []

    def test_one_value_and_many_fit(self) -> None:
        assert any("20.0 ┤●" in line for line in plotted([[(1, 0.2)]], width=40))
        long = plotted([[(epoch, epoch / 1000) for epoch in range(1, 501)]], width=60)
        assert max(map(len, long)) <= 60
