"""What trials of several other sweeps tell: each centred apart, with doubt of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ikd.sweep.effects.told import DOUBT, told_by
from ikd.sweep.records.trials import TrialRecord
from tests.unit.sweep.synthetic import AXES, record_of, synthetic_recipe, synthetic_space

RECIPE = synthetic_recipe()
SPACE = synthetic_space(RECIPE, {"effects": {}})


def swept(name: str, levels: list[float], axes: tuple[str, ...] = AXES) -> list[TrialRecord]:
    """Return finished trials of some levels (0..1), at places of their own."""
    found = []
    for number, level in enumerate(levels):
        values = {axis: 0.1 + 0.2 * number for axis in axes}
        found.append(replace(record_of(number, values, ("finished", level, {})), name=name, in_space=axes == AXES))
    return found


OWN = [0.40, 0.42]
HIGH, LOW = [0.60, 0.62, 0.64], [0.10, 0.20]


def test_each_sweep_is_centred_apart_and_doubted_by_its_own_spread() -> None:
    """In points: 41 is the mean of the own trials; 62 and 15 are those of the others."""
    told = told_by(SPACE, swept("", OWN), 4, [*swept("high", HIGH), *swept("low", LOW)])
    assert told is not None
    assert told.values.tolist() == pytest.approx([39, 41, 43, 36, 46, 40, 42])
    doubts = [DOUBT * np.var([60, 62, 64])] * 3 + [DOUBT * np.var([10, 20])] * 2 + [0, 0]
    assert told.extra.tolist() == pytest.approx(doubts)


def test_a_shift_of_a_whole_sweep_changes_nothing() -> None:
    shifted = [level + 0.3 for level in LOW]
    one, other = (told_by(SPACE, swept("", OWN), 4, swept("low", levels)) for levels in (LOW, shifted))
    assert one is not None
    assert other is not None
    assert one.values.tolist() == pytest.approx(other.values.tolist())


def test_those_that_lack_parameters_tell_of_the_others() -> None:
    told = told_by(SPACE, swept("", OWN), 4, swept("narrow", HIGH, AXES[:1]))
    assert told is not None
    assert told.values.tolist() == pytest.approx([39, 41, 43, 40, 42])


def test_before_the_first_own_trial_they_tell_alone() -> None:
    told = told_by(SPACE, [], 4, [*swept("high", HIGH), *swept("low", LOW)])
    assert told is not None
    assert told.values.tolist() == pytest.approx([-2, 0, 2, -5, 5])
