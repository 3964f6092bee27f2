"""`ikd report`: files, options, and what bad input gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ikd.cli import app
from ikd.errors import BadInput
from ikd.report import Sweep, write_comparison
from ikd.sweep import sweep_status


@pytest.fixture(autouse=True)
def at_home(played_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IKD_HOME", str(played_home))


def said(*arguments: object) -> list[str]:
    done = CliRunner().invoke(app, ["-q", "report", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def refused(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert isinstance(done.exception, BadInput), done.output
    return str(done.exception)


def test_a_report_lies_in_the_folder_of_its_sweep(played_home: Path) -> None:
    page = played_home / "sweeps" / "whole" / "report.html"
    assert said("whole") == [str(page)]
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    for line in sweep_status("whole").said_of_choice():
        assert f"<li>{line}</li>" in text.replace("&#43;", "+")
    page.unlink()
    assert Sweep("whole").report() == page
    assert page.is_file()


@pytest.mark.parametrize("to", ["there", "there/deep.html"])
def test_a_page_goes_where_it_is_told(to: str, tmp_path: Path) -> None:
    file = tmp_path / to if to.endswith(".html") else tmp_path / to / "report.html"
    assert said("whole", "--to", tmp_path / to) == [str(file)]
    assert file.is_file()


def test_detections_of_a_trial_that_is_asked_for(tmp_path: Path) -> None:
    said("whole", "--trial", 1, "--to", tmp_path / "x.html")
    assert "ikd show whole 1 --pictures" in (tmp_path / "x.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["wole"], "sweep name: must be a sweep under"),
        (["whole", "wole"], "did you mean 'whole'?"),
        (["whole", "whole"], "the sweeps to compare: must be two, but got 'whole'"),
        (["whole", "--trial", "99"], "sweep whole: trial: must be one of its trials (0 to 19), but got 99"),
        (["whole", "other", "--trial", "1"], "--trial: must come with one sweep, but two are compared"),
        (["whole", "--tables", "pdf"], "--tables: must be one of markdown, latex, csv, but got 'pdf'"),
        (["whole", "--to", "x.pdf"], "--to: must end in .html, or be a folder, but got 'x.pdf'"),
        (["whole", "--to", "/dev/null/x.html"], "--to: must be a file that can be written"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], rule: str) -> None:
    text = refused(*arguments)
    assert rule in text
    assert "\n" not in text


def test_a_sweep_that_no_version_can_read_is_one_line(played_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "torn"
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_bytes((played_home / "sweeps" / "whole" / "sweep.yaml").read_bytes())
    (folder / "study.db").write_text("no database")
    with pytest.raises(BadInput, match=r"study\.db: must be the study of a sweep, but is no SQLite file"):
        Sweep("torn", tmp_path)
    (folder / "study.db").unlink()
    with pytest.raises(BadInput, match=r"study\.db: must be the study of sweep torn, but is not there"):
        Sweep("torn", tmp_path)


def test_two_sweeps_are_compared(played_home: Path, failed_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "sweeps").mkdir(parents=True)
    (home / "sweeps" / "whole").symlink_to(played_home / "sweeps" / "whole")
    (home / "sweeps" / "alone").symlink_to(failed_home / "sweeps" / "alone")
    (home / "sweeps" / "failed").symlink_to(failed_home / "sweeps" / "failed")
    page, *tables = write_comparison("whole", "alone", tmp_path / "x.html", home=home, tables=["csv"])
    text = page.read_text()
    assert "whole&#39;s choice is better than alone&#39;s with probability" in text
    assert "not confirmed" in text
    assert {file.stem for file in tables} == {"choices", "comparable", "recipes", "spaces"}
    failed = write_comparison("whole", "failed", tmp_path / "y.html", home=home)[0].read_text()
    assert "not comparable yet: a sweep has no finished trial of its search" in failed
