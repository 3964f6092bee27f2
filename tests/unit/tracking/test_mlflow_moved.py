"""A home that was moved takes its artifacts along, and a copied one leaves the first alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ikd.tracking import StudentFacts, Worth, local_uri, register_best
from ikd.tracking.mlflow_client import ARTIFACTS, make_client
from tests.unit.tracking.tell import make_tracker, runs_by_trial, tell_trial


@pytest.fixture
def old(template: Path, tmp_path: Path) -> Path:
    """A home with two trials that have an artifact each, in a folder whose name must be quoted in addresses."""
    home = tmp_path / "a home, äöü"
    home.mkdir()
    shutil.copy(template, home / "mlflow.db")
    track(home, 0, 1)
    return home


FACTS = StudentFacts(Worth("bbox_mAP", True, 0.25, None, "9c1f"))


def track(home: Path, *numbers: int) -> None:
    (home / "recipe.yaml").write_text("a: 1\n")
    with make_tracker(home) as tracker:
        tracker.start_sweep("demo", tags={}, params={})
        for number in numbers:
            tell_trial(tracker, number, range(1, 3))
            tracker.log_artifacts(number, home / "recipe.yaml", "settings")
        assert tracker.flush(60)


def register(home: Path) -> None:
    (home / "student").mkdir(exist_ok=True)
    (home / "student" / "card.md").write_text("of trial 0")
    sweep = home / "sweeps" / "demo"
    register_best(home / "student", uri="local", home=home, sweep=sweep, number=0, model="fish", facts=FACTS)


def artifacts(home: Path) -> dict[str, Path]:
    """List and download the artifact of each trial by MLflow's client, as anybody would; return where each lies."""
    client = make_client(local_uri(home), home / ARTIFACTS)
    found = {}
    for trial, run in runs_by_trial(client).items():
        for folder in client.list_artifacts(run.info.run_id):
            copy = Path(client.download_artifacts(run.info.run_id, f"{folder.path}/recipe.yaml", str(home)))
            assert copy.read_text() == "a: 1\n"
            found[trial] = Path(unquote(urlsplit(run.info.artifact_uri).path)) / folder.path / copy.name
    return found


def test_artifacts_move_along_and_the_old_place_stays_gone(old: Path, tmp_path: Path) -> None:
    register(old)
    new = tmp_path / "b"
    old.rename(new)
    there = artifacts(new)
    assert sorted(there) == ["0", "1"]
    assert all(path.is_relative_to(new) for path in there.values())
    track(new, 2)
    there = artifacts(new)
    assert sorted(there) == ["0", "1", "2"]
    assert all(path.is_relative_to(new / ARTIFACTS) and path.is_file() for path in there.values())
    client: Any = make_client(local_uri(new))
    (version,) = client.search_model_versions("name='fish'")
    stored = client.get_logged_model(version.source.removeprefix("models:/")).artifact_location
    assert stored.startswith((new / ARTIFACTS).as_uri() + "/")
    register(new)
    assert [one.version for one in client.search_model_versions("name='fish'")] == [1], "it is still the same"
    assert not old.exists()


def test_a_moved_home_without_artifacts_gets_them_in_the_new_place(template: Path, tmp_path: Path) -> None:
    home, new = tmp_path / "a", tmp_path / "b"
    home.mkdir()
    shutil.copy(template, home / "mlflow.db")
    track(home)
    home.rename(new)
    track(new, 0)
    assert artifacts(new)["0"].is_relative_to(new / ARTIFACTS)
    assert not home.exists()


def test_a_copied_home_leaves_the_first_alone(old: Path, tmp_path: Path) -> None:
    new = Path(shutil.copytree(old, tmp_path / "copy"))
    before = sorted((old / ARTIFACTS).rglob("*"))
    track(new, 2)
    assert all(path.is_relative_to(new) for path in artifacts(new).values())
    assert sorted((old / ARTIFACTS).rglob("*")) == before
    assert sorted(artifacts(old)) == ["0", "1"]
    assert all(path.is_relative_to(old) for path in artifacts(old).values())


def test_the_same_home_by_another_path_is_not_touched(old: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(old)
    track(link, 2)
    client: Any = make_client(local_uri(old))
    assert client.get_experiment_by_name("ikd").artifact_location == (old / ARTIFACTS).as_uri()


def test_a_database_that_is_no_homes_own_keeps_its_addresses(old: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "team"
    elsewhere.mkdir()
    shutil.copy(old / "mlflow.db", elsewhere / "mlflow.db")
    client: Any = make_client(local_uri(elsewhere), tmp_path / "b" / ARTIFACTS)
    assert client.get_experiment_by_name("ikd").artifact_location == (old / ARTIFACTS).as_uri()
