"""Progress is one line on a terminal, and few lines in a log."""

from __future__ import annotations

import sys

import pytest

from ikd.progress import show_progress


def test_a_log_gets_a_line_for_each_tenth_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    for done in range(1, 36):
        show_progress("boxes", done, 35)
    lines = [f"boxes: {done}/35" for done in (*range(3, 35, 3), 35)]
    assert capsys.readouterr().err == "".join(line + "\n" for line in lines)


def test_a_terminal_gets_one_line_that_is_overwritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for done in range(4):
        show_progress("boxes", done, 3)
    assert capsys.readouterr().err == "boxes: 0/3\rboxes: 1/3\rboxes: 2/3\rboxes: 3/3\n"


def test_nothing_to_do_is_done_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    show_progress("boxes", 0, 0)
    assert capsys.readouterr().err == "boxes: 0/0\n"
