"""The queue and its thread, against a sink that fails on demand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikd.tracking.events import Event
from ikd.tracking.writer import ATTEMPTS, Rejected, Writer

QUICK = (0.01, 0.02)


class FakeSink:
    """Keeps what is delivered; `up` and `gate` make it dead or hung, `poison` and `refused` name events that fail."""

    place = "a list"

    def __init__(self) -> None:
        self.up = True
        self.gate = threading.Event()
        self.gate.set()
        self.poison: set[int] = set()
        self.refused: set[int] = set()
        self.delivered: list[int] = []
        self.attempts: list[int] = []

    def open(self, sweep_id: str) -> None:
        pass

    def close(self) -> None:
        pass

    def deliver(self, event: Event) -> None:
        self.gate.wait()
        self.attempts.append(event.time_ms)
        if not self.up:
            raise ConnectionError("refused")
        if event.time_ms in self.refused:
            raise Rejected("bad name")
        if event.time_ms in self.poison:
            raise RuntimeError("odd")
        self.delivered.append(event.time_ms)

    def fault(self) -> str | None:
        return None if self.up else "the server is away"


def event(number: int) -> Event:
    return Event("log", "demo", 0, number, {"epoch": number, "metrics": {}})


@pytest.fixture
def sink() -> Iterator[FakeSink]:
    sink = FakeSink()
    yield sink
    sink.gate.set()


def wait_for_lines(spool: Path, count: int) -> None:
    """Wait until the writer's thread has put so many events into the spool."""
    deadline = time.monotonic() + 30
    while not (spool.is_file() and len(spool.read_text().splitlines()) >= count):
        assert time.monotonic() < deadline, "the writer keeps nothing"
        time.sleep(0.01)


def test_everything_arrives_once_and_in_order(sink: FakeSink) -> None:
    writer = Writer(sink)
    for number in range(100):
        writer.put(event(number))
    assert writer.flush(10)
    assert writer.close(10) == 0
    assert sink.delivered == list(range(100))


def test_put_does_not_wait_for_a_hung_server(sink: FakeSink) -> None:
    sink.gate.clear()
    writer = Writer(sink)
    for number in range(50):
        writer.put(event(number))  # would never return if it waited
    assert not writer.flush(0.05)
    assert sink.delivered == []
    sink.gate.set()
    assert writer.flush(10)
    assert sink.delivered == list(range(50))
    writer.close(1)


def test_an_outage_loses_and_repeats_nothing(sink: FakeSink, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = tmp_path / "spool.jsonl"
    writer = Writer(sink, spool, waits=QUICK)
    writer.put(event(0))
    assert writer.flush(10)
    sink.up = False
    for number in range(1, 6):
        writer.put(event(number))
        wait_for_lines(spool, number)
        assert not writer.flush(0.0)
    assert [Event.from_line(line, Path()).time_ms for line in spool.read_text().splitlines()] == [1, 2, 3, 4, 5]
    sink.up = True
    assert writer.flush(10)
    assert writer.close(10) == 0
    assert sink.delivered == [0, 1, 2, 3, 4, 5]
    assert not spool.exists()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1  # told once, not at every attempt
    assert "the server is away" in warnings[0]
    assert str(spool) in warnings[0]


def test_what_is_left_at_the_end_goes_out_first_next_time(sink: FakeSink, tmp_path: Path) -> None:
    spool = tmp_path / "spool.jsonl"
    sink.gate.clear()  # hangs: the thread itself can write nothing down
    writer = Writer(sink, spool, waits=QUICK)
    for number in range(3):
        writer.put(event(number))
    assert writer.close(0.05) == 3
    assert len(spool.read_text().splitlines()) == 3

    other = FakeSink()
    second = Writer(other, spool, waits=QUICK)
    second.put(event(3))
    assert second.close(10) == 0
    assert other.delivered == [0, 1, 2, 3]
    assert not spool.exists()


def test_a_process_that_dies_in_an_outage_leaves_the_spool(sink: FakeSink, tmp_path: Path) -> None:
    spool = tmp_path / "spool.jsonl"
    sink.up = False
    killed = Writer(sink, spool, waits=QUICK)  # never closed, as after SIGKILL
    killed.put(event(0))
    killed.put(event(1))
    wait_for_lines(spool, 2)
    other = FakeSink()
    copy = tmp_path / "copy.jsonl"
    copy.write_text(spool.read_text())
    assert Writer(other, copy, waits=QUICK).close(10) == 0
    assert other.delivered == [0, 1]
    killed.close(0)


def test_a_torn_line_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = tmp_path / "spool.jsonl"
    spool.write_text(event(7).to_line(Path()) + event(8).to_line(Path())[:20])
    sink = FakeSink()
    assert Writer(sink, spool, waits=QUICK).close(10) == 0
    assert sink.delivered == [7]
    assert "unreadable line" in caplog.text


def test_a_refused_event_does_not_hold_up_the_rest(sink: FakeSink, caplog: pytest.LogCaptureFixture) -> None:
    sink.refused = {1}
    writer = Writer(sink, waits=QUICK)
    for number in range(3):
        writer.put(event(number))
    assert writer.close(10) == 0
    assert sink.delivered == [0, 2]
    assert sink.attempts.count(1) == 1
    assert "an epoch of trial 0 of sweep demo could not be written and is left out: bad name" in caplog.text


def test_an_event_that_always_fails_is_given_up(sink: FakeSink, caplog: pytest.LogCaptureFixture) -> None:
    sink.poison = {1}
    writer = Writer(sink, waits=QUICK)
    for number in range(3):
        writer.put(event(number))
    assert writer.close(10) == 0
    assert sink.delivered == [0, 2]
    assert sink.attempts.count(1) == ATTEMPTS
    assert "odd" in caplog.text


def test_an_unwritable_spool_does_not_stop_delivery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = FakeSink()
    sink.up = False
    writer = Writer(sink, tmp_path / "missing" / "spool.jsonl", waits=QUICK)
    writer.put(event(0))
    assert not writer.flush(0.1)
    sink.up = True
    assert writer.close(10) == 0
    assert sink.delivered == [0]
    assert "cannot write" in caplog.text
