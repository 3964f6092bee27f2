"""Whole sweeps through Ray with a training module that takes milliseconds."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ikd.config import Recipe
from ikd.data import draw_dataset
from ikd.errors import BadInput
from ikd.sweep import SweepResult, best_trial, dry_run, run_sweep, stop_sweep, sweep_names, sweep_status, trials_of
from ikd.sweep.driver import resolve
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.storage.keeping import without_place
from ikd.sweep.study.folder import driving, sweep_folder
from tests.unit.sweep import fake_training
from tests.unit.sweep.conftest import OpenStudy, column_titles, make_runner, make_space, with_teachers

FAKE = "tests.unit.sweep.fake_training"


def sweep(
    recipe: Recipe, *, text: io.StringIO | None = None, runner: dict[str, Any] | None = None, **space: Any
) -> SweepResult:
    console = Console(file=text or io.StringIO(), width=120)
    return run_sweep(
        make_space(**space),
        recipe=recipe,
        runner=make_runner(**(runner or {})),
        name="s",
        output=console,
        training=FAKE,
    )


@pytest.mark.usefixtures("ray_running")
def test_a_sweep_from_start_to_extension(recipe: Recipe, ikd_home: Path) -> None:
    text = io.StringIO()
    result = sweep(recipe, text=text)
    assert (result.state, result.exit_status, len(result.trials)) == ("finished", 0, 8)
    assert [trial.name for trial in result.trials[:2]] == ["paper", "student alone"]
    assert trials_of("s") == list(result.trials), "the study alone tells the same"
    assert best_trial("s") == result.best
    assert result.best is not None
    assert result.standing is not None
    assert f"chosen: trial {result.standing.chosen.number} (" in text.getvalue()
    assert f"its training: trial {result.best.number}, " in text.getvalue()
    assert "vs student alone" in column_titles(text.getvalue())

    starts = fake_training.notes(result.directory, "start")
    assert sorted(note["trial"] for note in starts) == list(range(8)), "each trial was started once"
    assert len({note["pid"] for note in starts}) <= 2, "two warm workers did it all"
    assert len({(note["pid"], note["imported"]) for note in starts}) == len({note["pid"] for note in starts})
    for pid in {note["pid"] for note in starts}:
        resets = [note["resets"] for note in starts if note["pid"] == pid]
        assert resets == list(range(resets[0], resets[0] + len(resets))), "a reset between any two trials"
    assert {note["home"] for note in starts} == {str(ikd_home)}

    again = sweep(recipe)
    assert again.trials == result.trials
    assert len(fake_training.notes(result.directory, "start")) == 8, "nothing ran again"

    larger = sweep(recipe, budget={"trials": 10})
    assert larger.trials[:8] == result.trials
    assert len(fake_training.notes(result.directory, "start")) == len(larger.trials) == 10


@pytest.mark.usefixtures("ray_running")
@pytest.mark.slow
def test_workers_train_every_anchor_and_sequence(recipe: Recipe) -> None:
    """The worker builds its recipe from an anchor's name or from values; another one than was proposed fails."""
    base = with_teachers(recipe.with_values({"schedule.epochs": 2}), "a", "b")
    text, anchors = io.StringIO(), ["paper", "student_alone", "equal_budget", "epochs_per_stage"]
    parameters = {"teachers.sequence": {"sequence": {"of": ["a", "b"]}}, "adversarial.weight": {"choice": [1e-6, 1e-5]}}
    asha = {"rungs": "stages", "first_stage_grace": True, "grace_epochs": 1}
    result = sweep(base, text=text, parameters=parameters, anchors=anchors, scheduler={"asha": asha})
    assert [(one.name, one.state, one.epochs) for one in result.trials[:4]] == [
        ("paper", "finished", 2),
        ("student alone", "finished", 2),
        ("equal budget", "finished", 2),
        ("whole schedule per stage", "finished", 4),
    ]
    assert {one.state for one in result.trials[4:]} == {"finished"}, "grace ends with the trials"
    assert len({json.dumps(one.values, sort_keys=True) for one in result.trials if one.in_space}) == 6
    assert any("a -> b" in one.name for one in result.trials[4:])
    assert "epoch 3/4" in text.getvalue(), "an anchor has its own length"


@pytest.mark.usefixtures("ray_running")
@pytest.mark.slow
def test_no_more_lies_on_the_disk_than_the_dry_run_says(recipe: Recipe) -> None:
    folder, runner = sweep_folder("s").path, {"keep_top": 1}
    folder.mkdir(parents=True)
    (folder / "fake.json").write_text(json.dumps({"seconds": 0.02}))
    plan = dry_run(make_space(), recipe=recipe, runner=make_runner(**runner), name="s")
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], len(list(folder.glob("trials/*/*.pth"))))

    watching = threading.Thread(target=watch)
    watching.start()
    result = sweep(recipe, runner=runner)
    over.set()
    watching.join()
    assert plan.checkpoints == 2 * 8 + 3 * 2, "the anchors, one configuration, and what may still prove the best"
    assert 6 < most[0] <= plan.checkpoints
    gone = {str(one.number) for one in without_place(result.trials, result.standing, "max", 1)}
    assert gone
    assert {path.parent.name for path in folder.glob("trials/*/*.pth")} <= {str(number) for number in range(8)} - gone
    assert result.best is not None
    assert (result.best.directory / "best.pth").is_file()
    assert len(list(folder.glob("trials/*/log.jsonl"))) == 8, "logs stay"


EXPECTED = {
    fake_training.NAN_METRIC: ("diverged", 2, 1, "bbox_mAP is not finite at epoch 2"),
    fake_training.NAN_LOSS: ("diverged", 1, 1, "non-finite loss in epoch 2, step 7: mgd=inf"),
    fake_training.BAD_INPUT: ("failed", 0, 1, "data: has no boxes"),
    fake_training.OUT_OF_MEMORY: ("failed", 1, 1, "out of memory"),
    fake_training.ALWAYS_CRASHES: ("failed", 2, 2, "crashed 2 times, last: ValueError: this always breaks"),
    fake_training.KILLED_ONCE: ("finished", 6, 2, ""),
}


@pytest.mark.usefixtures("ray_running")
def test_what_goes_wrong_in_a_trial_stays_in_it(recipe: Recipe) -> None:
    text = io.StringIO()
    result = sweep(
        recipe.with_values({"seed": fake_training.MISBEHAVING}), text=text, scheduler={"none": {}},
        budget={"trials": 9}, runner={"trial": {"max_retries": 1}},
    )  # fmt: skip
    for number, (state, epochs, attempts, reason) in EXPECTED.items():
        trial = result.trials[number]
        assert (number, trial.state, trial.epochs, trial.attempts) == (number, state, epochs, attempts)
        assert reason in trial.reason
        assert reason in text.getvalue()
        trained = [note["epoch"] for note in fake_training.notes(result.directory, "epoch") if note["trial"] == number]
        assert trained == sorted(set(trained)), "a retry goes on from the last checkpoint"
        log = trial.log.read_text()
        assert log.count("--- attempt in process") == attempts
        assert ("ValueError: this always breaks" in log) == (number == fake_training.ALWAYS_CRASHES)
        assert ("Traceback" in log) == (number not in (fake_training.NAN_METRIC, fake_training.KILLED_ONCE))
        if state == "failed":
            assert str(trial.log) in text.getvalue().replace("\n", ""), "the table says where it is told"
    assert [one.state for one in result.trials if one.number not in EXPECTED] == ["finished"] * 3
    assert result.best is not None
    assert result.best.state == "finished"


@pytest.mark.usefixtures("ray_running")
def test_epochs_saved_but_never_reported_are_sent_on_resume(recipe: Recipe, open_study: OpenStudy) -> None:
    """A worker died between its checkpoint and its report; the study must not have a hole there."""
    directory = sweep_folder("s").path / "trials" / "0"
    study, space = open_study(sweep_folder("s").path), make_space(budget={"trials": 2})
    study.add(anchor_proposals(space, recipe)[0], space)
    directory.mkdir(parents=True)
    (directory / "last.pth").write_text("3")
    lines = [
        json.dumps({"epoch": k, "metrics": {"bbox_mAP": 0.1 * k, "seconds/train": 2.0, "seconds/val": 1.0}})
        for k in (1, 2, 3)
    ]
    (directory / "log.jsonl").write_text("\n".join(lines) + '\n{"epoch": 4, "metr')
    result = sweep(recipe, budget={"trials": 2})
    assert [report.epoch for report in result.trials[0].reports] == [1, 2, 3, 4, 5, 6]
    assert [report.seconds for report in result.trials[0].reports[:3]] == [3.0, 6.0, 9.0]
    assert result.trials[0].seconds >= 9.0


@pytest.mark.usefixtures("ray_running")
def test_trials_of_another_sweep_are_not_taken_over(recipe: Recipe) -> None:
    directory = sweep_folder("s").path / "trials" / "0"
    directory.mkdir(parents=True)
    (directory / "last.pth").write_text("3")
    with pytest.raises(BadInput, match="runner: storage: must hold no trials of another sweep of this name"):
        sweep(recipe)
    assert (directory / "last.pth").read_text() == "3"


@pytest.mark.usefixtures("ray_running")
def test_another_space_or_recipe_is_refused_by_start_and_dry_run_and_nothing_changes(recipe: Recipe) -> None:
    first = sweep(recipe, budget={"trials": 2})
    changed = {**make_space().model_dump(mode="json", by_alias=True)["parameters"]}
    changed["distill.mgd.alpha"] = {"log_uniform": [1e-6, 1e-3], "when": {"distill.host": "mgd"}}
    with pytest.raises(BadInput, match=r"distill.mgd.alpha.log_uniform: was \[1e-07, 0.001\], is now \[1e-06, 0.001\]"):
        sweep(recipe, parameters=changed)
    with pytest.raises(BadInput, match=r"recipe.schedule.batch_size: was 8, is now 4[\s\S]*use another name"):
        sweep(recipe.with_values({"schedule.batch_size": 4}))
    assert trials_of("s") == list(first.trials)
    with pytest.raises(BadInput, match=r"batch_size: was 8, is now 4"):
        dry_run(
            make_space(budget={"trials": 2}),
            recipe=recipe.with_values({"schedule.batch_size": 4}),
            runner=make_runner(),
            name="s",
            training=FAKE,
            check=True,
        )


@pytest.mark.slow
@pytest.mark.usefixtures("ray_running")
def test_a_sweep_whose_data_have_moved_is_extended(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sweep(recipe, budget={"trials": 2})
    root = str(draw_dataset(tmp_path / "elsewhere", num_train=10, num_val=10, size_px=128))
    moved, said = recipe.with_values({"data.root": root}), io.StringIO()
    more = sweep(moved, text=said, budget={"trials": 3})
    assert f"the data set lies in {root} now, and lay in " in said.getvalue().replace("\n", "")
    assert more.trials[:2] == first.trials
    assert more.trials[2].state == "finished"
    assert sweep_status("s").data == root
    with pytest.raises(BadInput, match=r"batch_size: was 8, is now 4\nuse another name"):
        sweep(moved.with_values({"schedule.batch_size": 4}), budget={"trials": 3})
    plan: dict[str, Any] = {"recipe": moved, "runner": make_runner(), "name": "s", "training": FAKE, "check": True}
    assert dry_run(make_space(budget={"trials": 3}), **plan).ended == 3

    other = dataclasses.replace(fake_training.DATA, classes=("ring",))
    monkeypatch.setattr(fake_training, "DATA", other)
    refused = r"must be the data set that this sweep began with"
    with pytest.raises(BadInput, match=refused):
        dry_run(make_space(budget={"trials": 4}), **plan)
    with pytest.raises(BadInput, match=refused):
        sweep(moved, budget={"trials": 4})


def test_two_drivers_of_one_sweep_are_refused(recipe: Recipe) -> None:
    hold = (
        "import time; from ikd.sweep.study.folder import *\n"
        "with driving(sweep_folder('s')): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BadInput, match=rf"sweep s: is already being run by process {other.pid} on "):
            sweep(recipe)
        other.kill()
    with driving(sweep_folder("s")):
        pass  # the lock of a killed driver is free


def test_an_unknown_sweep_names_the_near_one(recipe: Recipe) -> None:
    folder = sweep_folder("quickstart")
    folder.path.mkdir(parents=True)
    folder.files.write_text("space: {}\n")
    assert sweep_names() == ["quickstart"]
    for call in (trials_of, best_trial, stop_sweep, sweep_status):
        with pytest.raises(BadInput, match="did you mean 'quickstart'"):
            call("quikstart")
    with pytest.raises(BadInput, match="cannot be read"):
        sweep_status("quickstart")
    assert not stop_sweep("quickstart"), "no driver is there to stop"


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "a b"])
def test_a_name_that_is_no_folder_is_refused(name: str, recipe: Recipe) -> None:
    with pytest.raises(BadInput, match="sweep name: must be"):
        sweep_folder(name)
    with pytest.raises(BadInput, match="sweep name: must be"):
        resolve(Path(__file__).parents[3] / "search_spaces" / "quickstart.yaml", name=name)


@pytest.mark.usefixtures("ray_running")
def test_more_than_the_machine_has_is_refused(recipe: Recipe) -> None:
    with pytest.raises(BadInput, match=r"runner: trial.gpus: must be at most the 0 GPUs of this Ray, but got 1"):
        sweep(recipe, runner={"trial": {"gpus": 1}})


def test_importing_the_package_loads_no_ray() -> None:
    code = "import sys, ikd.sweep; assert not {'ray', 'torch', 'mlflow', 'mmdet'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_folders_of_killed_drivers_are_removed(tmp_path: Path) -> None:
    from ikd.files import LEFT_OVER_SECONDS, remove_left_over

    dead, young, alive = (tmp_path / f"ikd-ray-{pid}-x" for pid in (99999999, 99999998, os.getpid()))
    for folder in (dead, young, alive):
        folder.mkdir()
    for folder in (dead, alive):
        then = time.time() - LEFT_OVER_SECONDS - 1
        os.utime(folder, (then, then))
    remove_left_over(tmp_path)
    assert [folder.exists() for folder in (dead, young, alive)] == [False, True, True]
