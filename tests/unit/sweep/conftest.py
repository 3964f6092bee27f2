"""Small spaces, a study made in milliseconds, one Ray for all tests."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from ikd.config import Objective, Recipe, Runner, SearchSpace, load_recipe
from ikd.sweep.study.database import open_storage
from ikd.sweep.study.study import SweepStudy
from ikd.sweep.tune.environment import prepare_environment

SPACE: dict[str, Any] = {
    "recipe": "drawn_r18",
    "parameters": {
        "distill.host": {"choice": ["fgd", "mgd"]},
        "distill.mgd.alpha": {"log_uniform": [1e-7, 1e-3], "when": {"distill.host": "mgd"}},
        "distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2], "when": {"distill.host": "fgd"}},
    },
    "anchors": ["paper", "student_alone"],
    "sampler": {"tpe": {"startup_trials": 4}},
    "scheduler": {"asha": {"grace_epochs": 2}},
    "budget": {"trials": 8},
}


def make_space(**changes: Any) -> SearchSpace:
    return SearchSpace.model_validate_json(json.dumps({**SPACE, **changes}))


def make_runner(**changes: Any) -> Runner:
    return Runner.model_validate_json(json.dumps({"tracking": {"uri": "none"}, "concurrency": 2, **changes}))


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("drawn_r18")


def with_teachers(recipe: Recipe, *sequence: str) -> Recipe:
    """Give a recipe three teachers, a, b and c, of rising AP; none of them is ever built."""
    shared = {"config": "ikd::retinanet_r18", "recipe": "drawn_r18_teacher"}
    widths = {"a": 8, "b": 16, "c": 32}
    available = {name: {**shared, "arguments": {"base_channels": k}, "ap": k} for name, k in widths.items()}
    values = {"teachers.available": available, "teachers.sequence": list(sequence), "student.inherit": False}
    return recipe.with_values(values)


@pytest.fixture(autouse=True)
def ikd_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the report at the end of a sweep, which takes longer than one of these; it has tests of its own."""
    monkeypatch.setattr("ikd.sweep.driver.REPORT", "tests.unit.sweep.no_report")


@pytest.fixture(scope="session")
def empty_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    open_storage(folder, "sqlite").remove_session()
    return folder / "study.db"


OpenStudy = Callable[..., SweepStudy]


@pytest.fixture
def open_study(empty_study: Path, tmp_path: Path) -> OpenStudy:
    def opened(folder: Path = tmp_path, mode: Literal["max", "min"] = "max", *, name: str = "s") -> SweepStudy:
        if not (folder / "study.db").exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(empty_study, folder / "study.db")
        return SweepStudy(open_storage(folder, "sqlite"), name, folder, objective=Objective(mode=mode))

    return opened


@pytest.fixture(scope="session")
def ray_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    prepare_environment("local")
    from ikd.sweep.tune.cluster import ray_session

    with ray_session(make_runner()):
        yield


def column_titles(text: str) -> list[str]:
    """Return the titles of a ranking; each stands in as many lines as it has words."""
    head = re.split(r"\sof\s+each\s+trial", text)[-1].partition("\n   1 ")[0]
    lines = head.strip("\n").splitlines()
    ends = [match.end() for match in re.finditer(r"\S+(?: \S+)*", lines[-1])]
    spans = zip([0, *ends], ends, strict=False)
    return [" ".join(" ".join(line[start:end] for line in lines).split()) for start, end in spans]
