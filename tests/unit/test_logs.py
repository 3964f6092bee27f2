from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ikd import logs
from ikd.logs import Log, kept


def test_lines_have_times_and_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 200)
    log = Log(tmp_path / "new" / "driver.log")
    log.write("one\ntwo\n")
    lines = log.path.read_text().splitlines()
    assert [line[20:] for line in lines] == ["one", "two"]
    assert lines[0][4:5] == "-"
    for number in range(100):
        log.write(f"line {number}")
    assert sorted(path.name for path in log.path.parent.iterdir()) == ["driver.log", "driver.log.1"]
    assert sum(path.stat().st_size for path in log.path.parent.iterdir()) < 2 * 250
    assert log.path.read_text().endswith("line 99\n")


def test_a_log_that_cannot_be_written_hurts_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Log(tmp_path / "file" / "driver.log").write("lost")
    Log(tmp_path).write("a folder")


def test_what_is_printed_is_kept_and_still_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(tmp_path / "train.log")
    with kept(log):
        print("printed")
        sys.stderr.write("half a ")
        sys.stderr.write("line\n10 %\r20 %\n")
    print("outside")
    text = log.path.read_text()
    for part in ("printed", "half a line", "20 %"):
        assert part in text
    assert "outside" not in text
    assert "10 %" not in text
    shown = capsys.readouterr()
    assert "printed" in shown.out
    assert "half a line" in shown.err
