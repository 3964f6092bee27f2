"""The report that the driver writes when a sweep is over."""

from __future__ import annotations

import io
import types
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ikd.config import Recipe, SweepFiles
from ikd.sweep.driver import MOST_STARTS, STARTS, SweepResult, _Drive
from ikd.sweep.study.folder import sweep_folder, write_files
from ikd.tracking import NullTracker
from tests.unit.sweep.conftest import OpenStudy, make_runner, make_space
from tests.unit.sweep.player import Worker, conduct, play

Told = list[tuple[int | None, Path, str]]


class Listening(NullTracker):
    """Remembers what was to be copied."""

    def __init__(self) -> None:
        self.told: Told = []

    def log_artifacts(self, number: int | None, path: Path, folder: str = "") -> None:
        self.told.append((number, path, folder))


@pytest.fixture
def over(recipe: Recipe, ikd_home: Path, open_study: OpenStudy) -> tuple[_Drive, SweepResult, Listening, io.StringIO]:
    """A driver of a sweep that has nothing left to do."""
    folder = sweep_folder("s", ikd_home)
    study = open_study(folder.path, name="s")
    files = SweepFiles(make_space(budget={"trials": 4}), recipe, make_runner(storage=str(ikd_home)))
    write_files(folder, files)
    play(conduct(files.space, recipe, study, runner=files.runner), recipe, Worker())
    tracker, text = Listening(), io.StringIO()
    drive = _Drive(files, folder, study, tracker=tracker, console=Console(file=text, width=200))
    return drive, drive._result(), tracker, text


Over = tuple[_Drive, SweepResult, Listening, io.StringIO]


def test_the_page_is_written_and_handed_to_the_tracker(over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikd.sweep.driver.REPORT", "ikd.report")
    drive, result, tracker, text = over
    drive._hand_over(result, pictures=False)
    page = result.directory / "report.html"
    assert (None, page, "") in tracker.told
    assert f"report: {page}" in text.getvalue()
    content = page.read_text()
    assert "complete: 4 of 4 trials ended" in content, "its driver still holds the sweep, which does not run any more"
    assert "chosen: trial" in content


@pytest.mark.parametrize(
    "error", [ValueError("no such axis"), MemoryError("no room"), ImportError("No module named plotly")]
)
def test_a_report_that_fails_is_one_warning(over: Over, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(name: str, home: Path) -> Path:
        raise error

    module = types.SimpleNamespace(after_sweep=broken)
    monkeypatch.setattr("ikd.sweep.driver.importlib.import_module", lambda name: module)
    drive, result, tracker, text = over
    again = drive._hand_over(result, pictures=False)
    assert again.state == "finished"
    lines = [line for line in text.getvalue().splitlines() if "report" in line]
    assert lines == [f"warning: the report could not be written ({_said(error)}); ikd report s writes it"]
    assert "report.html" not in [path.name for _, path, _ in tracker.told]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("state", ["interrupted", "failed", "finished"])
def test_an_interrupted_sweep_is_not_over(over: Over, state: Any) -> None:
    drive, result, _, text = over
    drive._hand_over(SweepResult(**{**vars(result), "state": state}), pictures=False)
    assert (result.directory / "report.html").exists() is (state != "interrupted")
    assert ("report: " in text.getvalue()) is (state != "interrupted")


def test_starts_are_noted_with_command_and_versions(over: Over, monkeypatch: pytest.MonkeyPatch) -> None:
    drive, *_ = over
    monkeypatch.setattr(drive, "_environment", {"version.ikd": "7"})
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/ikd", "sweep", "my space.yaml", "--trials", "+2"])
    for _ in range(MOST_STARTS + 2):
        drive._note_start()
    starts = drive._study.notes[STARTS]
    assert len(starts) == MOST_STARTS
    assert starts[-1]["command"] == "ikd sweep 'my space.yaml' --trials +2"
    assert starts[-1]["versions"] == {"version.ikd": "7"}
