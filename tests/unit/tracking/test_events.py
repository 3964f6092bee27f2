from __future__ import annotations

from pathlib import Path

import pytest

from ikd.tracking.events import Event, read_epochs, write_epochs


@pytest.mark.parametrize(
    ("epochs", "text"),
    [(set(), ""), ({1}, "1"), ({1, 2, 3}, "1-3"), ({1, 2, 3, 8}, "1-3,8"), ({2, 4, 6}, "2,4,6"), ({9, 10, 11}, "9-11")],
)
def test_epochs_there_and_back(epochs: set[int], text: str) -> None:
    assert write_epochs(epochs) == text
    assert read_epochs(text) == epochs


def test_an_event_survives_the_file() -> None:
    event = Event("log", "demo", 3, 1234, {"epoch": 2, "metrics": {"α": 0.5, "loss": float("inf")}})
    assert Event.from_line(event.to_line(Path()), Path()) == event
    assert event.to_line(Path()).count("\n") == 1


def test_files_of_a_folder_move_along_with_it() -> None:
    event = Event("artifacts", "demo", 3, 1234, {"path": "/a/sweep/best.pth", "folder": "best"})
    moved = Event.from_line(event.to_line(Path("/a/sweep")), Path("/b/sweep"))
    assert moved.data == {"path": "/b/sweep/best.pth", "folder": "best"}
    assert event.data["path"] == "/a/sweep/best.pth"


def test_files_of_elsewhere_are_none_of_the_sweeps() -> None:
    event = Event("artifacts", "demo", 3, 1234, {"path": "/c/notes.md", "folder": ""})
    with pytest.raises(ValueError, match="not an event"):
        Event.from_line(event.to_line(Path("/a/sweep")), Path("/b/sweep"))


@pytest.mark.parametrize("line", ["", "{", '{"kind": "log"}', '{"other": 1}', "[1]", '{"kind": "log", "sw'])
def test_a_broken_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not an event"):
        Event.from_line(line, Path())
