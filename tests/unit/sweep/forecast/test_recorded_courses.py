"""Forecasts of recorded sweeps, part of the way, against what became of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.courses.recording import Recording
from benchmarks.courses.replay import SHARE, WITHIN, forecast_at, kept_before, recordings, situation
from ikd.sweep.forecast.clock import said
from ikd.sweep.forecast.left import LEAST_SECONDS, Outlook
from tests.marks import some

FILES = recordings()
HOLD = 8
"""Of twelve forecasts this many hold."""
NEAR = 0.3
"""What all but one keep within."""


@pytest.fixture(scope="module")
def off() -> dict[str, float]:
    """Of each recording how far the forecast was off; what the sweeps before it had shown is known."""
    return {hit.name: round(hit.off, 2) for hit in (forecast_at(file, SHARE, kept_before(file)) for file in FILES)}


def test_recordings_are_of_an_idle_machine() -> None:
    assert len(FILES) >= 10
    assert max(max(Recording.load_from(file).load) for file in FILES) < 4.0


@pytest.mark.slow
def test_a_quarter_of_the_way_the_forecast_is_near_the_truth(off: dict[str, float]) -> None:
    assert sum(abs(one) <= NEAR for one in off.values()) >= len(FILES) - 1, off


def test_a_quarter_of_the_way_most_forecasts_are_within_a_quarter_of_the_truth(off: dict[str, float]) -> None:
    """Those that miss are told in docs/log.md, 2026-11-27."""
    assert sum(abs(one) <= WITHIN for one in off.values()) >= HOLD, off


@pytest.mark.parametrize("file", some(FILES, 1), ids=lambda file: file.stem)
def test_it_is_never_over_while_something_runs(file: Path) -> None:
    one = Recording.load_from(file)
    for step in range(1, 40):
        found = Outlook(situation(one, one.moment(step / 40))).forecast()
        if found.trials:
            assert found.seconds is None or found.seconds >= LEAST_SECONDS
            assert "about 0 s" not in said(found)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_comes_nearer_to_the_end(file: Path) -> None:
    """Three quarters of the way it is off by less than half of what was left at a quarter."""
    one = Recording.load_from(file)
    late = forecast_at(file, 0.75)
    assert late.forecast is not None
    assert abs(late.forecast - late.left) < 0.5 * one.left(one.moment(SHARE))


def test_what_all_wait_for_is_said() -> None:
    (file,) = (file for file in FILES if file.stem == "teacher_first")
    one = Recording.load_from(file)
    text = said(Outlook(situation(one, one.moment(SHARE))).forecast())
    assert text.startswith("teacher first; about ")
    assert not said(Outlook(situation(one, one.moment(0.7))).forecast()).startswith("teacher")
