"""A sweep's folder that somebody else has sent: looked at and gone on with, it runs nothing and writes nowhere else."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ikd.config import Runner, SweepFiles, load_recipe
from ikd.errors import BadInput
from ikd.files import parsed, write_text
from ikd.sweep import sweep_status, sweep_statuses, track_files
from ikd.sweep.study.database import open_study
from ikd.sweep.study.folder import SweepFolder, driver_of, driving, read_files, stop_sweep, sweep_folder, write_files
from ikd.tracking.events import Event
from ikd.tracking.tracker import IDENTITY, SPOOL, sweep_identity
from ikd.training import resumable
from ikd.trial import TrialFolder
from tests.unit.sweep.conftest import make_space


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IKD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def sent(home: Path) -> SweepFolder:
    """A sweep with a study, not running."""
    folder = sweep_folder("sent")
    folder.path.mkdir(parents=True)
    files = SweepFiles(make_space(), load_recipe("drawn_r18"), Runner())
    write_files(folder, files)
    open_study(folder, files, create=True)
    return folder


def change(folder: SweepFolder, part: str, **values: Any) -> None:
    content = yaml.safe_load(folder.files.read_text())
    content[part] |= values
    folder.files.write_text(yaml.safe_dump(content))


LINKS = ["driver.lock", "driver.json", "driver.log", "stop", "study.db", "sweep.yaml", "tracking.json", "trials"]


@pytest.mark.parametrize("name", [*LINKS, "trials/0/log.jsonl", "trials/0", "trials/0/train.log", "trials/0/best.pth"])
def test_nothing_is_written_where_a_link_leads(name: str, sent: SweepFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    if name in ("trials", "trials/0"):
        outside.mkdir()
        (outside / "best.pth").write_text("precious")
    elif name == "study.db":
        shutil.copy(sent.path / name, outside)
    else:
        outside.write_text("precious")
    before = _state(outside)
    link = sent.path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    looks: list[Callable[[], object]] = [
        lambda: sweep_status("sent"),
        lambda: stop_sweep("sent"),
        lambda: driving(sent).__enter__(),
    ]
    for look in looks:
        with pytest.raises(BadInput, match="must stay in the folder of the sweep"):
            look()
    assert all(isinstance(one, BadInput) for one in sweep_statuses())
    assert _state(outside) == before


def _state(path: Path) -> object:
    files = [path] if path.is_file() else sorted(path.iterdir())
    return [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in files]


def test_a_home_on_another_disk_is_its_owners_choice(sent: SweepFolder, home: Path, tmp_path: Path) -> None:
    shutil.move(home, tmp_path / "disk")
    home.symlink_to(tmp_path / "disk")
    (sent.path / "trials").mkdir()
    (sent.path / "notes").symlink_to(sent.path / "sweep.yaml")
    assert sweep_status("sent").name == "sent"


BOMBS = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "itself": "space: &a [*a]\n",
    "deep": "space: " + "[" * 5000 + "]" * 5000 + "\n",
    "python": "space: !!python/object/apply:os.system ['touch /tmp/touched-by-a-sweep']\n",
    "no mapping": "[1, 2]\n",
    "binary": "\x00\x01\n",
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_file_that_takes_all_memory_or_runs_something_is_refused(name: str, sent: SweepFolder) -> None:
    content = yaml.safe_load(sent.files.read_text())
    own = yaml.safe_dump({"runner": content["runner"], "recipe": content["recipe"]})
    sent.files.write_text(BOMBS[name] if name == "no mapping" else BOMBS[name] + own)
    with pytest.raises(BadInput, match=r"sweep\.yaml: must be the file that ikd sweep wrote"):
        read_files(sent)
    assert not Path("/tmp/touched-by-a-sweep").exists()


DEEP = "[" * 200_000


def test_json_that_nests_too_deeply_is_passed_over(sent: SweepFolder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="deeply"):
        parsed(DEEP)
    (sent.path / "driver.json").write_text(DEEP)
    assert driver_of(sent) == "an unknown process"
    (sent.path / "driver.json").write_text("[]")
    assert driver_of(sent) == "an unknown process"
    (tmp_path / "log.jsonl").write_text(DEEP + '\n{"epoch": 1, "metrics": {"a": 1}}\n')
    assert TrialFolder(tmp_path).logged() == {1: {"a": 1.0}}


@pytest.mark.parametrize("place", ["/etc/hostname", "../../../outside", "trials/0/link"])
def test_a_spool_sends_files_of_its_sweep_alone(place: str, sent: SweepFolder, home: Path) -> None:
    (home.parent / "outside").write_text("secret")
    (sent.path / "trials" / "0").mkdir(parents=True)
    (sent.path / "trials" / "0" / "link").symlink_to(home.parent / "outside")
    (sent.path / "trials" / "0" / "own").touch()

    def line(path: str) -> str:
        data = {"path": path, "folder": ""}
        return json.dumps({"kind": "artifacts", "sweep": "s", "number": 0, "time_ms": 1, "data": data})

    with pytest.raises(ValueError, match="not an event"):
        Event.from_line(line(place), sent.path)
    assert Event.from_line(line("trials/0/own"), sent.path).data["path"] == str(sent.path / "trials/0/own")


def test_files_of_elsewhere_wait_in_the_folder_of_the_sweep(
    sent: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ikd.sweep.handover.SECONDS", 1.0)
    change(sent, "runner", tracking={"uri": "http://127.0.0.1:1", "experiment": "ikd"})
    write_text(sent.path / IDENTITY, json.dumps({"sweep_id": "a"}))
    card = tmp_path / "card.md"
    card.write_text("# Card")
    assert not track_files(sent, [card], "export")
    (event,) = [Event.from_line(line, sent.path) for line in (sent.path / SPOOL).read_text().splitlines()]
    assert Path(event.data["path"]).is_relative_to(sent.path)
    assert Path(event.data["path"]).read_text() == "# Card"


def test_an_identity_is_no_part_of_a_query(sent: SweepFolder) -> None:
    write_text(sent.path / IDENTITY, json.dumps({"sweep_id": "x' or tags.a != 'b"}))
    with pytest.raises(BadInput, match="sweep_id"):
        sweep_identity(sent.path, create=False)


def test_looking_at_a_sweep_reads_no_config_and_no_checkpoint(sent: SweepFolder, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    config = tmp_path / "evil.py"
    config.write_text(f"open({str(touched)!r}, 'w').close()\nmodel = dict(type='RetinaNet')\n")
    recipe = yaml.safe_load(sent.files.read_text())["recipe"]
    change(sent, "recipe", student={**recipe["student"], "config": str(config), "arguments": {}})
    (sent.path / "trials" / "0").mkdir(parents=True)
    (sent.path / "trials" / "0" / "best.pth").write_bytes(b"cos\nsystem\n(S'touch " + os.fsencode(touched) + b"'\ntR.")
    status = sweep_status("sent")
    status.render()
    assert not touched.exists()


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def test_going_on_unpickles_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for name in ("last.pth", "previous.pth"):
        torch.save({"format": 1, "epoch": _Touch(touched)}, tmp_path / name)
    assert resumable(tmp_path) is None
    assert not touched.exists()


def test_a_study_that_was_tampered_with_unpickles_nothing(sent: SweepFolder, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    code = f"__import__('os').system('touch {touched}')"
    with sqlite3.connect(sent.path / "study.db") as connection:
        studies = [key for (key,) in connection.execute("SELECT study_id FROM studies")]
        insert = "INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (?, ?, ?)"
        connection.execute(insert, (studies[0], "evil", json.dumps({"py/reduce": [code]})))
    connection.close()
    sweep_status("sent").render()
    assert not touched.exists()


def test_what_is_written_follows_no_link_that_lies_there(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (tmp_path / "target").symlink_to(outside)
    write_text(tmp_path / "target", "new")
    assert outside.read_text() == "precious"
    assert (tmp_path / "target").read_text() == "new"
    assert not (tmp_path / "target").is_symlink()
