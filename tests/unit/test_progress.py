"""Whoever waits is told of what before it begins, and sees that it goes on."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from ikd import progress
from ikd.progress import Steps, working


def test_a_step_is_announced_before_it_begins_and_closed_with_its_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with working("evaluating the student on 32 images"):
        assert capsys.readouterr().err == "evaluating the student on 32 images ..."
    assert capsys.readouterr().err == " 0 s\n"


def test_a_log_gets_dots_while_a_step_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "BEAT_SECONDS", 0.01)
    with working("starting Ray"):
        deadline = time.monotonic() + 10
        seen = ""
        while "..." not in seen.removeprefix("starting Ray ...") and time.monotonic() < deadline:
            time.sleep(0.01)
            seen += capsys.readouterr().err
    assert re.fullmatch(r"starting Ray \.{6,} 0 s\n", seen + capsys.readouterr().err)


def test_a_terminal_gets_one_line_that_is_overwritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with working("boxes") as work:
        for done in range(3):
            work.count(done, 2)
    assert (
        capsys.readouterr().err
        == "boxes ...\rboxes ... 0/2, 0 s\x1b[K\rboxes ... 1/2, 0 s\x1b[K" + "\rboxes ... 2/2, 0 s\x1b[K" * 2 + "\n"
    )


def test_a_log_gets_a_count_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps() as steps:
        for done in range(36):
            steps.count("boxes", done, 35)
        steps.next("perturbations")
    tenths = [4, 7, 11, 14, 18, 21, 25, 28, 32, 35]
    counted = "".join(f" {done}/35 " for done in tenths)
    assert capsys.readouterr().err == f"boxes ...{counted} 0 s\nperturbations ... 0 s\n"


def test_a_step_ends_with_its_line_when_it_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        with Steps() as steps:
            steps.next("an epoch of the student alone")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == "an epoch of the student alone ... 0 s\n"


def test_what_takes_long_in_it_is_said_in_the_line_of_the_work(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.mentioned("indexing a.json"):
        pass
    assert not capfd.readouterr().err, "nobody waits"
    with progress.working("looking") as work:
        with progress.mentioned("a moment"):
            pass
        with progress.mentioned("indexing a.json"), progress.mentioned(""):
            work.beat()
            work.beat()
    assert capfd.readouterr().err == "looking ... (indexing a.json) . 0 s\n", "a moment is not said"


def test_what_is_said_meanwhile_has_a_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both streams of a pipe (`2>&1`) are one file, in which every line is whole."""
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stdout", log)
        monkeypatch.setattr(sys, "stderr", log)
        with working("training") as work:
            work.beat()
            progress.say("teacher x101: mAP 0.0")
            progress.say("recipe drawn_r18: distils 0, 1")
            work.beat()
            work.count(5, 10)
    lines = ["training ....", "teacher x101: mAP 0.0", "recipe drawn_r18: distils 0, 1", "training .... 5/10  0 s"]
    assert (tmp_path / "log").read_text().splitlines() == lines


def test_work_within_work_has_a_line_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    with working("exporting") as outer:
        with working("fetching") as inner:
            outer.beat()  # the inner one shows that both go on
            inner.beat()
            inner.beat()
        outer.beat()
    assert capfd.readouterr().err == "exporting ...\nfetching ..... 0 s\nexporting .... 0 s\n"


def test_a_terminal_shows_what_is_said_in_place_of_the_line_which_comes_back_below(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with working("boxes"):
        progress.say("a word")
    seen = capfd.readouterr()
    assert (seen.out, seen.err) == ("a word\n", "boxes ...\r\x1b[K\rboxes ... 0 s\x1b[K\n")


def test_nothing_is_written_for_who_wants_quiet(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(progress.VARIABLE, "quiet")
    with working("training") as work:
        work.beat()
        progress.say("a word")
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore:.*fork")  # from Python 3.12 on, as other threads run
def test_a_forked_process_says_its_line_whatever_the_other_was_writing(capfd: pytest.CaptureFixture[str]) -> None:
    """As a data loader's is."""
    reader, writer = os.pipe()

    def speak() -> None:
        progress.say("a word")
        os.write(writer, b"!")

    with progress.working("training"), progress.line_free():
        if not (child := os.fork()):
            thread = threading.Thread(target=speak, daemon=True)
            thread.start()
            thread.join(20)
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writer)
        assert os.read(reader, 1) == b"!"
        os.close(reader)
    seen = capfd.readouterr()
    assert (seen.out, seen.err) == ("a word\n", "training ...\ntraining ... 0 s\n")


def test_what_is_quick_is_not_spoken_of(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.working("reading mine", late=True):
        pass
    assert capfd.readouterr().err == ""


def test_what_is_quick_as_a_rule_is_said_where_it_lasts(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.working("reading mine", late=True) as work:
        work.beat()
        work.beat()
    assert capfd.readouterr().err == "reading mine ..... 0 s\n"


def test_on_a_terminal_it_leaves_no_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.working("reading mine", late=True) as work:
        work.beat()
    assert capfd.readouterr().err == "\rreading mine ... 0 s\x1b[K\r\x1b[K"
