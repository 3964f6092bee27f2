from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ikd.errors import BadInput, JobError
from ikd.tracking import RegisteredStudent, register_best
from tests.unit.tracking.tell import make_tracker, tell_trial


@pytest.fixture
def student(home: Path) -> Path:
    folder = home / "student"
    folder.mkdir()
    (folder / "student.pth").write_bytes(b"weights")
    (folder / "student.py").write_text("model = dict()\n")
    return folder


@pytest.fixture
def sweep(home: Path) -> Path:
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        tell_trial(tracker, 3, range(1, 3))
        tracker.end_sweep("finished")
    return home / "sweeps" / "demo"


def register(student: Path, home: Path, sweep: Path, number: int = 3, model: str = "cells") -> RegisteredStudent:
    return register_best(student, uri="local", home=home, sweep=sweep, number=number, model=model)


def test_the_champion_is_exactly_the_folder(student: Path, home: Path, sweep: Path, client: Any, uri: str) -> None:
    registered = register(student, home, sweep)
    assert registered == RegisteredStudent("cells", "1", "models:/cells/1")
    version = client.get_model_version_by_alias("cells", "champion")
    assert version.version == "1" or version.version == 1
    assert version.tags["ikd.trial"] == "3"
    assert version.tags["ikd.sweep"] == "demo"
    assert client.get_run(version.run_id).data.tags["ikd.trial"] == "3"

    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        got = Path(mlflow.artifacts.download_artifacts("models:/cells@champion", dst_path=str(home / "got")))
    finally:
        mlflow.set_tracking_uri(before)
    assert {path.name: path.read_bytes() for path in got.iterdir()} == {
        path.name: path.read_bytes() for path in student.iterdir()
    }


def test_the_same_files_stay_one_version_and_others_make_a_new_one(
    student: Path, home: Path, sweep: Path, client: Any
) -> None:
    assert register(student, home, sweep).version == "1"
    assert register(student, home, sweep).version == "1"
    (student / "student.pth").write_bytes(b"better weights")
    assert register(student, home, sweep).version == "2"
    assert str(client.get_model_version_by_alias("cells", "champion").version) == "2"


def test_an_empty_folder_is_refused(home: Path, sweep: Path) -> None:
    with pytest.raises(BadInput, match="must be a folder with an exported student"):
        register(home / "nothing", home, sweep)


def test_an_unknown_trial_is_refused(student: Path, home: Path, sweep: Path) -> None:
    with pytest.raises(BadInput, match=r"trial 4 of the sweep in .* is not in MLflow"):
        register(student, home, sweep, number=4)


def test_a_sweep_that_was_not_tracked_is_refused(student: Path, home: Path) -> None:
    with pytest.raises(BadInput, match="needs the tracking uri that the sweep ran with"):
        register(student, home, home / "other")


@pytest.mark.parametrize("model", ["", "a/b", "a:b", "a.b", "it's"])
def test_a_bad_model_name_is_refused(model: str, student: Path, home: Path, sweep: Path) -> None:
    with pytest.raises(BadInput, match="a registered model's name has none of"):
        register(student, home, sweep, model=model)


def test_no_tracking_is_refused(student: Path, home: Path, sweep: Path) -> None:
    with pytest.raises(BadInput, match=r"tracking\.uri: must be local"):
        register_best(student, uri="none", home=home, sweep=sweep, number=3, model="cells")


def test_a_dead_server_is_told(student: Path, home: Path, sweep: Path) -> None:
    with pytest.raises(JobError, match="did not register the student: nothing answers"):
        register_best(student, uri="http://127.0.0.1:1", home=home, sweep=sweep, number=3, model="cells")
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
