"""The destination: whole or not at all, and nothing of a person's is deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ikd.errors import BadInput
from ikd.export.folder import CARD, MAKER, new_folder
from ikd.files import sha256


def export(destination: Path, text: str) -> None:
    """Write the smallest export: one file and its card."""
    with new_folder(destination) as folder:
        (folder / "student.py").write_text(text)
        (folder / CARD).write_text(
            json.dumps({"made_by": MAKER, "files": {"student.py": sha256(folder / "student.py")}})
        )


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_makes_parents_and_replaces_an_empty_folder_and_an_untouched_export(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    export(place, "one")
    assert (place / "student.py").read_text() == "one"
    export(place, "two")
    assert (place / "student.py").read_text() == "two"
    (tmp_path / "empty").mkdir()
    export(tmp_path / "empty", "three")
    assert (tmp_path / "empty" / "student.py").read_text() == "three"
    assert sorted(path.name for path in tmp_path.rglob(".*")) == [], "no partial folder is left"


def test_the_folder_has_the_permissions_of_any_new_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    export(tmp_path / "place", "one")
    assert (tmp_path / "place").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    export(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "student.py").read_text() == "one"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"notes.txt": "mine"}, "must be new, empty or an earlier export, but holds notes.txt"),
        ({"notes.txt": "mine", CARD: "{}"}, "but holds card.json, notes.txt"),
        ({CARD: '{"made_by": "someone", "files": {}}'}, "but holds card.json"),
        ({"a": "", "b": "", "c": "", "d": ""}, "but holds a, b, c and 1 more"),
    ],
)
def test_a_folder_with_other_things_is_refused_and_kept(tmp_path: Path, files: dict[str, str], says: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=says):
        export(tmp_path, "new")
    assert content(tmp_path) == files


@pytest.mark.parametrize(
    ("name", "what"), [("student.py", "changed"), ("my notes.md", "added"), ("deep/er.txt", "added")]
)
def test_an_export_that_a_person_touched_is_refused_and_kept(tmp_path: Path, name: str, what: str) -> None:
    place = tmp_path / "place"
    export(place, "one")
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_text("a person's work")
    before = content(place)
    with pytest.raises(BadInput, match=rf"{name}.* was {what} since it was exported; move it away"):
        export(place, "two")
    assert content(place) == before


def test_a_touch_while_the_export_was_made_counts_too(tmp_path: Path) -> None:
    place = tmp_path / "place"

    def work() -> None:
        with new_folder(place):
            place.mkdir()
            (place / "notes.txt").write_text("mine")

    with pytest.raises(BadInput, match=r"notes\.txt"):
        work()
    assert content(place) == {"notes.txt": "mine"}


def test_an_export_that_lost_a_file_is_replaced(tmp_path: Path) -> None:
    export(tmp_path / "place", "one")
    (tmp_path / "place" / "student.py").unlink()
    export(tmp_path / "place", "two")
    assert (tmp_path / "place" / "student.py").read_text() == "two"


def test_a_failure_leaves_the_earlier_export_and_nothing_else(tmp_path: Path) -> None:
    export(tmp_path / "place", "one")
    before = content(tmp_path)

    def fail() -> None:
        with new_folder(tmp_path / "place") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert content(tmp_path) == before


def test_a_failing_swap_puts_the_earlier_export_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "place", "one")
    before = content(tmp_path)

    def failing(source: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no space left"):
        export(tmp_path / "place", "two")
    assert content(tmp_path) == before


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadInput, match=r"must be a folder"):
            export(place, "new")
    assert content(tmp_path) == {"file": "mine"}
