"""Is what a sweep says of the gain of its choice true, in worlds whose truth is known?"""

from __future__ import annotations

import math

import pytest

from benchmarks.search.honest import Honesty, Told


def test_honesty_by_hand() -> None:
    found = [
        Told(1.0, (0.0, 2.0), 0.99, 1.5),  # holds
        Told(2.0, (1.5, 2.5), 0.99, 1.0),  # too good
        Told(-0.5, (-1.5, 0.5), 0.2, -1.0),  # holds, and claims nothing
        Told(0.5, (0.1, 0.9), 0.96, -0.1),  # claims a gain that is none
    ]
    honest = Honesty.of(found)
    assert (honest.sweeps, honest.coverage, honest.width) == (4, 0.5, pytest.approx(1.45))
    assert honest.bias == pytest.approx((-0.5 + 1.0 + 0.5 + 0.6) / 4)
    assert (honest.sure, honest.right) == (0.75, pytest.approx(2 / 3))
    assert honest.row("x").startswith("| x | 4 | 0.500 | +0.40 | 1.4")
    assert math.isnan(Honesty.of(found[2:3]).right)
