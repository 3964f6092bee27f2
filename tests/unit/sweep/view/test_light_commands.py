"""Commands that only show something load nothing that trains, samples or runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ikd.sweep
from ikd.config import Recipe, SweepFiles
from ikd.sweep.study.folder import sweep_folder, write_files
from tests.marks import some
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play

ROOT = Path(__file__).resolve().parents[4]
HEAVY = {
    "torch",
    "mmdet",
    "mmengine",
    "mmcv",
    "ray",
    "mlflow",
    "pandas",
    "scipy.stats",
    "cmaes",
    "pyarrow",
    "cv2",
    "onnx",
}
NO_STUDY = HEAVY | {"scipy", "optuna", "sqlalchemy", "alembic"}


@pytest.fixture
def played_sweep(recipe: Recipe, ikd_home: Path, open_study: OpenStudy) -> None:
    folder = sweep_folder("mine", ikd_home)
    study = open_study(folder.path, name="mine")
    write_files(folder, SweepFiles(make_space(), recipe, make_runner()))
    play(conduct(make_space(), recipe, study), recipe, Worker())


@pytest.mark.usefixtures("played_sweep")
@pytest.mark.parametrize(
    ("command", "heavy", "shows"),
    some(
        [
            (["status", "mine"], HEAVY, "mine: 8 of 8 trials ended"),
            (["list"], HEAVY, "8 of 8"),
            (["show", "mine"], HEAVY, "objective"),
            (["show", "mine", "2"], HEAVY, "differs from the recipe in"),
            (["compare", "mine", "0", "2"], HEAVY, "differ in"),
            (["recipe", "list"], NO_STUDY, "small_r18"),
            (["recipe", "show", "small_r18"], NO_STUDY, "schedule.epochs: 9"),
            (["--version"], NO_STUDY, "ikd "),
            (["space", "show", "search_spaces/ikd.yaml"], NO_STUDY, "sampler"),
            (["--help"], NO_STUDY, "status"),
        ],
        2,
    ),
)
def test_what_only_shows_stays_light(command: list[str], heavy: set[str], shows: str) -> None:
    code = f"""
import sys
sys.argv = ["ikd", *{command!r}]
from ikd.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *sorted({heavy!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert shows in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "LOADED"


def test_the_facade_has_all_it_names_and_nothing_else() -> None:
    assert all(name.isupper() or callable(getattr(ikd.sweep, name)) for name in ikd.sweep.__all__)
    with pytest.raises(AttributeError, match=r"module 'ikd\.sweep' has no attribute 'run_swep'"):
        ikd.sweep.run_swep  # noqa: B018
