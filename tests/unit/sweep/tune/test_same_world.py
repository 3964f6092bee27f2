"""Workers import from where the driver does, whatever lies in the folder in which the command was run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikd.data import draw_dataset

ROOT = Path(__file__).resolve().parents[4]
TRAPS = (
    *("json", "typing", "random", "logging", "signal", "socket", "queue", "pickle", "runpy", "yaml", "numpy", "pandas"),
    *("torch", "optuna", "ray", "mlflow", "mmcv", "mmengine", "ikd"),
)
TRAP = """
import builtins
with builtins.open({note!r}, "a") as notes:
    notes.write(__name__ + chr(10))
raise ImportError(__name__ + " of the working folder")
"""


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder with a module for every real one; who imports one of them is noted in the file `imported`."""
    folder = tmp_path / "trapped"
    (folder / "mmdet").mkdir(parents=True)
    text = TRAP.format(note=str(folder / "imported"))
    for name in (*TRAPS, "mmdet/__init__"):
        (folder / f"{name}.py").write_text(text)
    return folder


def run(trapped: Path, script: str, *arguments: str, **environment: str) -> str:
    """Run a script that lies elsewhere, as the installed command does, in the folder of traps."""
    (trapped.parent / "bin").mkdir()
    file = trapped.parent / "bin" / "command"
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(file), *arguments],
        cwd=trapped,
        env={**os.environ, "PYTHONPATH": str(ROOT), "IKD_HOME": str(trapped.parent / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (trapped / "imported").exists(), (trapped / "imported").read_text()
    return done.stdout


SESSION = """
import importlib, json, sys
sys.path.append(sys.argv[1])
from ikd.config import Runner
from ikd.sweep.tune.environment import prepare_environment
prepare_environment("local")
from ikd.sweep.tune.cluster import ray_session
from ikd.world import import_path
import ray

def look():
    found = {name: importlib.import_module(name).__file__ for name in ("json", "mmdet", "optuna", "my_own_losses")}
    return sys.path, found

with ray_session(Runner()):
    worker = ray.get(ray.remote(look).remote(), timeout=120)
print(json.dumps({"driver": [import_path(), look()[1]], "worker": worker}))
"""


@pytest.mark.slow
def test_a_worker_imports_what_its_driver_does(trapped: Path) -> None:
    own = trapped / "own"
    own.mkdir()
    (own / "my_own_losses.py").touch()
    found: dict[str, Any] = json.loads(run(trapped, SESSION, str(own)).splitlines()[-1])
    (path, modules), (path_there, modules_there) = found["driver"], found["worker"]
    assert modules_there == modules
    assert modules["my_own_losses"] == str(own / "my_own_losses.py")
    script = str(
        trapped.parent / "bin"
    )  # Ray puts it first; importing ray puts a folder of ray's before it in the driver
    there = [folder for folder in path_there if folder != script]
    assert there[: len(path) - 1] == [folder for folder in path if folder != script]
    assert str(trapped) not in path_there


SWEEP = """
import sys
from ikd.cli import main
main()
"""
RECIPE = {
    "base": "drawn_r18",
    "student": {"arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3}, "inherit": False},
    "teachers": {"sequence": []},
    "augment": {"enabled": False},
    "adversarial": {"enabled": False},
    "distill": {"host": "none"},
    "input": {"scale": [96, 96]},
    "schedule": {"epochs": 1, "batch_size": 4, "workers": 1},
}
SPACE = {
    "recipe": "mine.yaml",
    "parameters": {"schedule.optimizer.lr": {"log_uniform": [1e-4, 1e-2]}},
    "anchors": [],
    "scheduler": {"none": {}},
    "budget": {"trials": 1},
}
RUNNER = {
    "ray": {"start_seconds": 600},
    "trial": {"cpus": 1, "gpus": 0, "processes": 2, "max_retries": 0},
    "concurrency": 1,
}


@pytest.mark.slow
def test_a_sweep_of_two_processes_a_trial_runs_among_traps_and_behind_a_proxy(trapped: Path) -> None:
    draw_dataset(trapped / "data", num_train=10, num_val=10, size_px=128, seed=1)
    recipe = RECIPE | {"data": {"root": "data"}}
    for name, content in {"mine": recipe, "space": SPACE, "runner": RUNNER}.items():
        (trapped / f"{name}.yaml").write_text(yaml.safe_dump(content))
    nobody = {name: "http://127.0.0.1:9" for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy")}
    text = run(trapped, SWEEP, "sweep", "space.yaml", "--runner", "runner.yaml", "--name", "s", **nobody)
    assert "trial 0: finished" in text
