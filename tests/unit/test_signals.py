"""Signals that end a command: what is open is closed, whatever else they have caused."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import pytest

from ikd.signals import Ended, advising, ended_by_signals, tell


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_the_block_through_its_cleaning_up(
    number: signal.Signals, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    closed, before = list[bool](), signal.getsignal(number)

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            closed.append(True)

    with pytest.raises(Ended) as caught, ended_by_signals(), advising(lambda: "go on with --resume"):
        work()
    assert closed
    assert tell(caught.value) == status
    assert capsys.readouterr().err == f"{number.name}: ended; go on with --resume\n"
    assert signal.getsignal(number) is before


def test_a_failure_that_the_signal_caused_is_not_told() -> None:
    def helpers_have_died_first() -> NoReturn:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Ended:
            raise RuntimeError("DataLoader worker is killed") from None
        raise AssertionError("the signal has come")

    with pytest.raises(Ended) as caught, ended_by_signals(), advising(lambda: "go on with --resume"):
        helpers_have_died_first()
    assert str(caught.value) == "SIGTERM: ended; go on with --resume"
    with pytest.raises(Ended) as caught, ended_by_signals():
        helpers_have_died_first()
    assert str(caught.value) == "SIGTERM: ended"


def test_a_second_signal_does_not_break_the_cleaning_up() -> None:
    closed = list[bool]()

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            closed.append(True)

    with pytest.raises(Ended), ended_by_signals():
        work()
    assert closed


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)  # as under nohup
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_failure_is_itself() -> None:
    with pytest.raises(ValueError, match="mine"), ended_by_signals():
        raise ValueError("mine")
