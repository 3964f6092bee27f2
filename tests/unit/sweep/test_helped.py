"""What is said of how much earlier sweeps helped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ikd.config import Recipe
from ikd.sweep.effects.helped import said_of_earlier
from ikd.sweep.records.trials import TrialRecord
from tests.unit.sweep.synthetic import AXES, bowl, record_of, synthetic_recipe, synthetic_space


@pytest.fixture
def recipe() -> Recipe:
    return synthetic_recipe()


def trials(count: int, seed: int, sign: float = 1.0, level: float = 0.0, **changes: Any) -> list[TrialRecord]:
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        values = dict(zip(AXES, random.uniform(0.01, 1.0, len(AXES)).tolist(), strict=True))
        state, value, costs = bowl(values)
        found.append(replace(record_of(number, values, (state, level + sign * value, costs)), **changes))
    return found


def said(recipe: Recipe, records: list[TrialRecord], earlier: list[TrialRecord]) -> list[str]:
    return said_of_earlier(synthetic_space(recipe, {"effects": {}}), recipe, records, earlier)


def agreement(line: str) -> float:
    return float(line.split(" by ")[1].split(";")[0])


def test_each_sweep_is_told_for_itself(recipe: Recipe) -> None:
    """One of another level with the same effects, and one with the opposite effects."""
    earlier = [*trials(30, 1, level=0.2, name="same"), *trials(30, 2, sign=-1.0, level=0.5, name="opposite")]
    same, opposite = said(recipe, trials(12, 3), earlier)
    assert same.startswith("warm start: 30 trials of same foretold the ranks of 12 trainings here by 0.")
    assert agreement(same) > 0.6
    assert agreement(opposite) < -0.6
    assert opposite.endswith("they taught little: other data or settings have other effects")
    assert "little" not in same


def test_few_trainings_say_nothing_yet(recipe: Recipe) -> None:
    earlier = trials(10, 1, name="old")
    waiting = "warm start: 10 trials of old; how well they foretell is said from 6 finished trials on"
    assert said(recipe, trials(5, 2), earlier) == [waiting]
    others = [replace(one, number=20 + one.number, role="repeat", of=0) for one in trials(5, 3)]
    assert said(recipe, [*trials(5, 2), *others], earlier) == [waiting], "repeats are no further configurations"
    assert said(recipe, trials(6, 2), earlier) != [waiting]


def test_nothing_finished_says_nothing(recipe: Recipe) -> None:
    earlier = trials(4, 1, name="old", state="diverged", metric=None)
    assert said(recipe, trials(9, 2), earlier) == ["warm start: 4 trials of old say nothing: none has finished"]
    assert said(recipe, trials(9, 2), []) == []
