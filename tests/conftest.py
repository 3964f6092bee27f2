"""What every test may use: a home of its own, and a trial that takes a second."""

from __future__ import annotations

import gc
import operator
import os
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes must not fight over two cores
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # golden values are the CPU's; 0 lets tests that can use a GPU

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


MANY_MODULES = 100
settled = 0
"""How many modules the garbage collector does not look at any more."""


def pytest_collection_finish() -> None:
    """Spare the garbage collector what the tests have imported: mmengine calls it once a data set, ikd once a trial."""
    settle()


def settle() -> None:
    global settled
    gc.collect()
    gc.freeze()
    settled = len(sys.modules)


@pytest.fixture(autouse=True)
def late_imports() -> None:
    """Spare it what tests have imported since, as MLflow, Ray and matplotlib are."""
    if len(sys.modules) > settled + MANY_MODULES:
        settle()


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Wait for no disk: what tests write need not outlive the machine. Processes of their own wait, as people's do."""
    from sqlalchemy import Engine, event

    def unsynced(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", unsynced)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
    event.remove(Engine, "connect", unsynced)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Start the global generators of every test at one place, so that none fails by the luck of its draw."""
    random.seed(0)
    for module, seed in {"numpy": "random.seed", "torch": "random.manual_seed"}.items():
        if module in sys.modules:  # what has not been imported draws nothing
            operator.attrgetter(seed)(sys.modules[module])(0)


@pytest.fixture(autouse=True)
def usual_loudness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a command's -q or -v says to the process, which a test shares with those after it."""
    monkeypatch.setenv("IKD_LOUDNESS", "usual")


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ikd home for the whole session, so that teachers and perturbations are made once."""
    folder = tmp_path_factory.mktemp("home")
    before = os.environ.get("IKD_HOME")
    os.environ["IKD_HOME"] = str(folder)
    yield folder
    os.environ.pop("IKD_HOME") if before is None else os.environ.update(IKD_HOME=before)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 + 10 drawn images."""
    from ikd.data import draw_dataset

    return draw_dataset(tmp_path_factory.mktemp("data") / "tiny", num_train=16, num_val=10, size_px=128, seed=3)


@pytest.fixture(scope="session")
def tiny_recipe(session_home: Path, tiny_data: Path) -> Callable[..., Any]:
    """Build a whole recipe (teacher, FGD, perturbations, augmentation) of two epochs of two steps."""
    from ikd.config import load_recipe

    teacher = {
        "config": "ikd::retinanet_r18",
        "arguments": {"base_channels": 8, "neck_channels": 16, "levels": 3},
        "recipe": "drawn_r18_teacher",
    }
    values = {
        "data.root": str(tiny_data),
        "student.arguments": {"base_channels": 4, "neck_channels": 16, "levels": 3},
        "student.inherit": False,
        "teachers.available": {"big": teacher},
        "teachers.sequence": ["big"],
        "input.scale": [96, 96],
        "attack.steps": 2,
        "schedule.epochs": 2,
    }

    def build(**changes: Any) -> Any:
        named = {name.replace("__", "."): value for name, value in changes.items()}
        return load_recipe("drawn_r18", values | named)

    return build


@pytest.fixture(scope="session")
def by_heart(session_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student that has learnt 12 images by heart: the images in `data`, best.pth in `trial`."""
    from tests.unit.export.students import train_student

    folder = tmp_path_factory.mktemp("by_heart")
    train_student(folder)
    return folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's, to be copied: its tables cost seconds."""
    from ikd.tracking.mlflow_client import make_client

    path = tmp_path_factory.mktemp("template") / "a new folder" / "mlflow.db"
    make_client(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def bccd() -> Path:
    """Real photographs, where they are there."""
    if not (SHARED / "bccd" / "train.json").is_file():
        pytest.skip(f"needs the bccd photographs at {SHARED / 'bccd'}")
    return SHARED / "bccd"
