"""The figures of the overhead benchmark from moments noted by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.overhead.sweeps import EPOCHS, figures


def trial(pid: int, begin: float, epoch: float = 2.0, between: float = 0.5) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for index in range(EPOCHS):
        start = begin + index * (epoch + between)
        found.append({"pid": pid, "what": "epoch begins", "time": start})
        found.append({"pid": pid, "what": "epoch ends", "time": start + epoch})
    return found


def test_two_workers_and_three_trials() -> None:
    # worker 1 trains from 0 to 12 and, after 3 s, from 15 to 27; worker 2 from 1 to 13
    found = figures([*trial(1, 15.0), *trial(2, 1.0), *trial(1, 0.0)], 3)
    assert found["training"] == pytest.approx(3 * EPOCHS * 2.0)
    assert found["steady"] == pytest.approx(27.0)
    assert found["ratio"] == pytest.approx(27.0 / (30.0 / 2))
    assert found["between"] == pytest.approx(3.0)


def test_new_processes_have_nothing_between_trials() -> None:
    assert math.isnan(figures([*trial(1, 0.0), *trial(2, 13.0)], 2)["between"])


def test_a_trial_too_few_is_noticed() -> None:
    with pytest.raises(AssertionError, match="every epoch was trained once"):
        figures(trial(1, 0.0), 2)
