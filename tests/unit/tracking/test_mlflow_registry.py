from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikd.errors import BadInput, JobError
from ikd.tracking import RegisteredStudent, StudentFacts, Worth, register_best
from tests.unit.tracking.tell import make_tracker, tell_trial

WORTH = Worth("bbox_mAP", True, 0.25, None, "9c1f")


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


def register(
    student: Path, home: Path, sweep: Path, number: int = 3, model: str = "cells", *, worth: Worth = WORTH, **more: Any
) -> RegisteredStudent:
    facts = StudentFacts(worth, {"bbox_mAP": worth.value, "bbox_APs": float("nan")}, "**what** it is")
    return register_best(student, uri="local", home=home, sweep=sweep, number=number, model=model, facts=facts, **more)


def test_a_version_holds_the_student_and_what_runs_it(
    student: Path, home: Path, sweep: Path, client: Any, uri: str
) -> None:
    registered = register(student, home, sweep, alias="champion")
    assert registered == RegisteredStudent("cells", "1", "models:/cells/1", "champion")
    version = client.get_model_version_by_alias("cells", "champion")
    assert str(version.version) == "1"
    assert version.tags["ikd.trial"] == "3"
    assert version.tags["ikd.sweep"] == "demo"
    assert version.description == "**what** it is"
    run = client.get_run(version.run_id)
    assert run.data.tags["ikd.trial"] == "3"
    assert run.data.metrics["exported/bbox_mAP"] == 0.25
    assert "exported/bbox_APs" not in run.data.metrics
    assert "bbox_mAP" in client.get_registered_model("cells").description

    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        got = Path(mlflow.artifacts.download_artifacts("models:/cells@champion", dst_path=str(home / "got")))
    finally:
        mlflow.set_tracking_uri(before)
    files = got / "artifacts" / "student"
    assert {path.name: path.read_bytes() for path in files.iterdir()} == {
        path.name: path.read_bytes() for path in student.iterdir()
    }
    described = yaml.safe_load((got / "MLmodel").read_text())
    assert "score_threshold" in described["signature"]["params"]
    assert (got / "input_example.json").is_file()
    asked = (got / "requirements.txt").read_text().split()
    assert {line.split("==")[0] for line in asked} >= {"torch", "onedl-mmdetection", "onedl-mmcv", "mlflow"}
    assert not any("+" in line or line.startswith("ikd") for line in asked), "what no index has"


def test_the_same_files_stay_one_version_and_others_make_a_new_one(
    student: Path, home: Path, sweep: Path, client: Any
) -> None:
    assert register(student, home, sweep).version == "1"
    assert register(student, home, sweep).version == "1"
    (student / "student.pth").write_bytes(b"better weights")
    assert register(student, home, sweep).version == "2"
    assert client.get_registered_model("cells").aliases == {}, "nobody has asked for one"


def test_an_alias_stays_at_a_better_version(student: Path, home: Path, sweep: Path, client: Any) -> None:
    register(student, home, sweep, alias="champion")
    (student / "student.pth").write_bytes(b"worse weights")
    worse = replace(WORTH, value=0.1)
    with pytest.raises(BadInput, match=r"champion of cells stays at version 1, as its bbox_mAP is 10\.0, .* 25\.0"):
        register(student, home, sweep, worth=worse, alias="champion")
    assert len(client.search_model_versions("name = 'cells'")) == 1, "nothing was registered"
    assert register(student, home, sweep, worth=worse, alias="other").alias == "other"
    assert str(client.get_model_version_by_alias("cells", "champion").version) == "1"
    register(student, home, sweep, worth=worse, alias="champion", force=True)
    assert str(client.get_model_version_by_alias("cells", "champion").version) == "2"


@pytest.mark.parametrize(
    ("own", "other", "why"),
    [
        ({}, {}, ""),
        ({"value": 0.3}, {}, ""),
        ({"value": 0.2}, {}, "its bbox_mAP is 20.0, and that of the other 25.0"),
        ({"value": 0.3, "test": 0.1}, {"test": 0.2}, "its bbox_mAP on the test part is 10.0"),
        ({"value": 0.2, "test": 0.1}, {}, "its bbox_mAP is 20.0"),
        ({"data": "another"}, {}, "different data"),
        ({"metric": "segm_mAP"}, {}, "judged by segm_mAP, and that by bbox_mAP"),
        ({"rising": False, "value": 0.2}, {"rising": False}, ""),
    ],
)
def test_what_is_worse(own: dict[str, Any], other: dict[str, Any], why: str) -> None:
    said = replace(WORTH, **own).worse_than(replace(WORTH, **other))
    assert why in said
    assert bool(said) == bool(why)


@pytest.mark.parametrize("alias", ["", "a b", "v1", "latest", "a/b", "a:b"])
def test_a_bad_alias_is_refused(alias: str, student: Path, home: Path, sweep: Path) -> None:
    with pytest.raises(BadInput, match="--alias: must be letters"):
        register(student, home, sweep, alias=alias)


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
        register_best(student, uri="none", home=home, sweep=sweep, number=3, model="cells", facts=StudentFacts(WORTH))


def test_a_dead_server_is_told(student: Path, home: Path, sweep: Path) -> None:
    with pytest.raises(JobError, match="did not register the student: nothing answers"):
        register_best(
            student,
            uri="http://127.0.0.1:1",
            home=home,
            sweep=sweep,
            number=3,
            model="cells",
            facts=StudentFacts(WORTH),
        )
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
