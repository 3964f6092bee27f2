"""What the driver writes into the sweep's folder itself: whole, without litter, one message where the disk is full."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ikd import cli
from ikd.config import Recipe, SweepFiles, load_sweep
from ikd.errors import BadInput, DiskFull
from ikd.sweep.study.folder import (
    check_identity,
    driver_of,
    driving,
    identity,
    is_driven,
    read_files,
    sweep_folder,
    write_files,
)
from tests.unit.sweep.conftest import make_runner, make_space


@pytest.fixture
def full_under(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Let the disk be full under one file only, as the last sync of it shows."""
    name, sync = str(request.param), os.fsync

    def fsync(handle: int) -> None:
        if f"/.{name}." in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return name


@pytest.mark.slow
@pytest.mark.parametrize("full_under", ["driver.json", "sweep.yaml"], indirect=True)
def test_a_full_disk_is_one_message_and_the_sweep_is_as_it_was(
    full_under: str, empty_study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep_folder("full")
    folder.path.mkdir(parents=True)
    shutil.copy(empty_study, folder.path / "study.db")
    (folder.path / full_under).write_text("as before")
    monkeypatch.setattr(sys, "argv", ["ikd", "sweep", "search_spaces/quickstart.yaml", "--name", "full"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    *before, told = lines
    assert [line for line in before if not re.search(r" \.{3,} \d+ s$", line)] == [], "only what was being done"
    assert told.startswith(f"error: disk full while writing {folder.path / full_under}: need ")
    assert told.endswith("run the same command again")
    assert (folder.path / full_under).read_text() == "as before"
    assert list(folder.path.glob(".*")) == []
    assert not is_driven(folder), "the next start finds the sweep free"


@pytest.mark.parametrize("full_under", ["driver.json"], indirect=True)
def test_a_sweep_that_could_not_say_who_drives_it_is_not_driven(full_under: str) -> None:
    with pytest.raises(DiskFull, match=full_under), driving(sweep_folder("s")):
        pytest.fail("it was driven")
    assert driver_of(sweep_folder("s")) == "an unknown process"


def test_a_file_of_another_version_is_refused_with_its_field(tmp_path: Path) -> None:
    folder = sweep_folder("s")
    folder.path.mkdir(parents=True)
    write_files(folder, load_sweep("search_spaces/quickstart.yaml"))
    folder.files.write_text(folder.files.read_text().replace("distill:\n", "distill:\n    toy: {weight: 1.0}\n", 1))
    rule = r"1 validation error for Recipe: distill\.toy: Extra inputs are not permitted .*a package that is missing"
    with pytest.raises(BadInput, match=rf"sweep\.yaml: must be the file that ikd sweep wrote, .*: {rule}"):
        read_files(folder)


def test_what_killed_drivers_left_in_the_folder_goes() -> None:
    folder = sweep_folder("s").path
    folder.mkdir(parents=True)
    for name in (".sweep.yaml.17.partial", ".driver.json.17.partial", "notes.txt"):
        (folder / name).touch()
    with driving(sweep_folder("s")):
        assert sorted(path.name for path in folder.iterdir()) == ["driver.json", "driver.lock", "notes.txt"]


@pytest.mark.parametrize(
    ("values", "space", "lines"),
    [
        ({"schedule.epochs": 4}, {}, ["recipe.schedule.epochs: was 6, is now 4"]),
        ({"seed": 5}, {}, ["recipe.seed: was 0, is now 5"]),
        ({"distill.host": "mgd"}, {}, ["recipe.distill.host: was 'fgd', is now 'mgd'"]),
        ({}, {"scheduler": {"none": {}}}, None),
        ({}, {"seed": 3}, ["space.seed: was 0, is now 3"]),
    ],
)
def test_a_changed_field_is_told_once(
    values: dict[str, Any], space: dict[str, Any], lines: list[str] | None, recipe: Recipe
) -> None:
    """What follows from it, the epochs of every stage for instance, is no news."""
    was = SweepFiles(make_space(), recipe, make_runner())
    now = SweepFiles(make_space(**space), recipe.with_values(values), make_runner())
    with pytest.raises(BadInput) as caught:
        check_identity("s", identity(was), identity(now), (was.recipe, now.recipe))
    _, *told, advice = str(caught.value).splitlines()
    assert advice.startswith("use another name")
    assert lines is None or [line.strip() for line in told] == lines
    assert len(told) <= 2
    check_identity("s", identity(was), identity(was), (was.recipe, was.recipe))


def test_without_the_files_of_before_what_acts_is_compared(recipe: Recipe) -> None:
    was, now = (SweepFiles(make_space(), one, make_runner()) for one in (recipe, recipe.with_values({"seed": 1})))
    with pytest.raises(BadInput, match=r"recipe\.seed: was 0, is now 1"):
        check_identity("s", identity(was), identity(now))
