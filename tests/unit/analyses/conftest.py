"""One trained student that is its own teacher, as a trial of a sweep and as an export."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ikd.analyses import Pair, find_pair
from ikd.config import Recipe, SweepFiles
from ikd.export import export_student
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.folder import COMPLETE, sweep_folder, write_files
from ikd.sweep.study.study import SweepStudy
from tests.unit.export.students import recipe_on
from tests.unit.sweep.conftest import make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play

SPACE: dict[str, Any] = {
    "parameters": {"distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2]}},
    "sampler": {"random": {}},
    "scheduler": {"none": {}},
    "budget": {"trials": 4, "confirm": {"share": 0.0, "apart": 0}},
}


@dataclass(frozen=True)
class Trained:
    """A student that was trained alone, its recipe, and the home of the sweep `mine` in which it teaches itself."""

    recipe: Recipe
    best: Path
    home: Path
    export: Path


@pytest.fixture(scope="session")
def trained(by_heart: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("analyzed")
    best, alone = by_heart / "trial" / "best.pth", recipe_on(by_heart / "data")
    student = alone.student.model_dump(mode="json", exclude={"inherit"}) | {"checkpoint": str(best)}
    teaching = {"teachers.available": {"itself": student}, "teachers.sequence": ["itself"], "distill.host": "fgd"}
    recipe = alone.with_values(teaching | {"attack.steps": 2})
    sweep, space = sweep_folder("mine", folder / "home"), make_space(**SPACE)
    sweep.path.mkdir(parents=True)
    study = SweepStudy(open_storage(sweep.path, "sqlite"), "mine", sweep.path, objective=space.objective)
    write_files(sweep, SweepFiles(space, recipe, make_runner()))
    play(conduct(space, recipe, study), recipe, Worker())
    study.note(COMPLETE, len(study.records))
    for record in study.records[:-1]:
        record.directory.mkdir(parents=True)
        shutil.copy(best, record.directory / "best.pth")
    export_student(best, folder / "export")
    return Trained(recipe, best, folder / "home", folder / "export")


@pytest.fixture
def home(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the sweep, in force."""
    monkeypatch.setenv("IKD_HOME", str(trained.home))
    return trained.home


@pytest.fixture
def pair(home: Path) -> Pair:
    return find_pair("mine", 2)
