"""From a search-space file to an exported student, through the command a person types."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

RECIPE = """
base: drawn_r18
name: whole_way
data: {{root: {data}}}
student: {{arguments: {{base_channels: 4, neck_channels: 16, levels: 3}}}}
teachers:
  available:
    big:
      config: ikd::retinanet_r18
      arguments: {{base_channels: 8, neck_channels: 16, levels: 3}}
      recipe: {teacher}
  sequence: [big]
input: {{scale: [96, 96]}}
attack: {{steps: 2}}
schedule: {{epochs: 2}}
"""
SPACE = """
recipe: {recipe}
parameters:
  distill.host: {{choice: [fgd, pkd]}}
  distill.pkd.weight: {{log_uniform: [0.3, 10], when: {{distill.host: pkd}}}}
  adversarial.enabled: {{choice: [true, false]}}
sampler: {{tpe: {{startup_trials: 2}}}}
scheduler: {{asha: {{grace_epochs: 1, reduction_factor: 2}}}}
budget: {{trials: 5}}
"""
COMMAND = "sweep {home}/space.yaml --name whole --runner {home}/runner.yaml"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def space(home: Path, tiny_data: Path) -> Path:
    (home / "teacher.yaml").write_text("base: drawn_r18_teacher\nschedule: {epochs: 2}\n")
    (home / "recipe.yaml").write_text(RECIPE.format(data=tiny_data, teacher=home / "teacher.yaml"))
    path = home / "space.yaml"
    path.write_text(SPACE.format(recipe=home / "recipe.yaml"))
    return path


def ikd(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"IKD_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "140"}
    command = [sys.executable, "-m", "ikd.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def swept(home: Path, space: Path) -> subprocess.CompletedProcess[str]:
    (home / "runner.yaml").write_text("pictures: false\n")  # which have tests of their own
    return ikd(home, *COMMAND.format(home=home).split(), "--force")  # two tiny epochs teach next to nothing


def trials(home: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(home / "sweeps" / "whole" / "study.db") as database:
        return list(database.execute("select number, state from trials order by number"))


def test_a_sweep_ranks_its_trials_against_the_anchors(home: Path, swept: subprocess.CompletedProcess[str]) -> None:
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "paper" in swept.stdout
    assert "student alone" in swept.stdout
    assert "inherit alone" in swept.stdout
    states = [state for _, state in trials(home)]
    assert len(states) == 5
    assert set(states) <= {"COMPLETE", "PRUNED"}
    assert states[:3] == ["COMPLETE"] * 3  # the anchors are never stopped


def test_sampled_values_are_the_values_trained(home: Path, swept: subprocess.CompletedProcess[str]) -> None:
    logs = [(home / "sweeps" / "whole" / "trials" / str(number) / "log.jsonl") for number, _ in trials(home)]
    first = [json.loads(log.read_text().splitlines()[0])["metrics"]["loss/total"] for log in logs]
    assert len(set(first)) == 5


def test_the_same_command_again_trains_nothing(
    home: Path, space: Path, swept: subprocess.CompletedProcess[str]
) -> None:
    before = trials(home)
    logs = sorted((home / "sweeps" / "whole" / "trials").glob("*/log.jsonl"))
    times = [log.stat().st_mtime_ns for log in logs]
    again = ikd(home, *COMMAND.format(home=home).split())  # --force is remembered
    assert again.returncode == 0, again.stdout + again.stderr
    assert trials(home) == before
    assert [log.stat().st_mtime_ns for log in logs] == times


def test_one_mlflow_run_a_trial(home: Path, swept: subprocess.CompletedProcess[str]) -> None:
    with sqlite3.connect(home / "mlflow.db") as database:
        names = sorted(name for (name,) in database.execute("select name from runs"))
        states = {state for (state,) in database.execute("select status from runs")}
    assert len(names) == 6
    assert {"paper", "student alone", "inherit alone", "whole"} <= {name.lstrip("★▲ ") for name in names}
    assert "RUNNING" not in states


def test_the_best_student_is_exported(home: Path, swept: subprocess.CompletedProcess[str]) -> None:
    done = ikd(home, "export", "whole", "--to", home / "student")
    assert done.returncode == 0, done.stdout + done.stderr
    weights = torch.load(home / "student" / "student.pth", weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in weights} <= {"backbone", "neck", "bbox_head"}
    assert (home / "student" / "card.md").is_file()


def test_status_shows_the_same_ranking(home: Path, swept: subprocess.CompletedProcess[str]) -> None:
    shown = ikd(home, "status", "whole")
    assert shown.returncode == 0
    assert "student alone" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sweep", "{space}", "--set", "schedule.epoch=3"), "schedule.epoch: is no recipe field; did you mean"),
        (("sweep", "search_spaces/ikd.yaml"), "data.train.annotations: must be a COCO json file"),
        (("sweep", "absent.yaml"), "absent.yaml: (file): must be a readable UTF-8 text file"),
        (("export", "absent", "--to", "x"), "absent"),
        (("train", "drawn_r1"), "did you mean 'drawn_r18'?"),
        (("data", "check", "absent"), "folder must exist"),
    ],
)
def test_bad_input_is_one_message_and_status_two(
    space: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = ikd(tmp_path, *(argument.format(space=space) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []  # nothing was written


@pytest.mark.slow
def test_a_dry_run_writes_nothing(space: Path, tmp_path: Path) -> None:
    done = ikd(tmp_path, "sweep", space, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "distinct configurations" in done.stdout
    assert list(tmp_path.iterdir()) == []
