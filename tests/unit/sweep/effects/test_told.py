"""What the records of a sweep tell the effects model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ikd.config import Recipe
from ikd.sweep.effects.told import MOST, objective, told_by
from ikd.sweep.records.trials import Report, TrialRecord
from ikd.trial import State
from tests.unit.sweep.synthetic import AXES, record_of, synthetic_recipe, synthetic_space

EPOCHS = 6


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return synthetic_recipe()


def trained(number: int, values: list[float], state: State = "finished") -> TrialRecord:
    """A trial whose objective was `values`, epoch by epoch."""
    reports = tuple(Report(epoch, {"bbox_mAP": value}, 1.0, number) for epoch, value in enumerate(values, 1))
    known = record_of(number, {name: 0.1 + number / 200 for name in AXES}, (state, 0.0, {}))
    return replace(known, reports=reports)


def curve(level: float, epochs: int = EPOCHS) -> list[float]:
    """A curve that stands at half of its end at half of the way."""
    return [level * epoch / EPOCHS for epoch in range(1, epochs + 1)]


def told(recipe: Recipe, records: list[TrialRecord], **changes: Any) -> tuple[list[float], list[float]]:
    found = told_by(synthetic_space(recipe, {"effects": {}}, **changes), records, EPOCHS)
    assert found is not None
    return found.values.tolist(), found.least.tolist()


def test_a_training_counts_with_the_mean_of_its_last_two_validations(recipe: Recipe) -> None:
    space = synthetic_space(recipe, {"effects": {}})
    one = trained(0, [0.1, 0.9, 0.3, math.nan, 0.5])
    assert objective(space, one) == pytest.approx(40.0)
    assert objective(space, one, epoch=2) == pytest.approx(50.0)
    assert math.isnan(objective(space, trained(1, [])))
    falling = synthetic_space(recipe, {"effects": {}}, objective={"metric": "bbox_mAP", "mode": "min"})
    assert objective(falling, one) == pytest.approx(-40.0)


def test_without_a_finished_trial_nothing_is_told(recipe: Recipe) -> None:
    space = synthetic_space(recipe, {"effects": {}})
    assert told_by(space, [trained(0, curve(0.3, 2), "stopped"), trained(1, [], "diverged")], EPOCHS) is None


def test_a_stopped_trial_tells_what_the_finished_ones_make_of_it(recipe: Recipe) -> None:
    finished = [trained(number, curve(level)) for number, level in enumerate([0.2, 0.3, 0.4, 0.5])]
    stopped = trained(4, curve(0.6, 3), "stopped")
    assert len(told(recipe, [*finished[:3], stopped])[0]) == 3, "three trials make no line"
    values, least = told(recipe, [*finished, stopped])
    # At epoch 3 the mean of the last two is 5/12 of the level, at the end 11/12. Four pairs on a line of slope 11/5,
    # drawn to 1/2 by the weight of three more and cut at 1.5; the rest follows from their means.
    early, late = (np.array([0.2, 0.3, 0.4, 0.5]) * 100 * share for share in (5 / 12, 11 / 12))
    slope = min((11 / 5 + 0.75 * 0.5) / 1.75, 1.5)
    assert values[4] == pytest.approx(late.mean() + slope * (25.0 - early.mean()))
    left = late - late.mean() - slope * (early - early.mean())
    assert least == pytest.approx([0.0] * 4 + [float((left**2).mean())])


def test_late_in_a_training_a_line_is_drawn_to_one_for_one(recipe: Recipe) -> None:
    finished = [trained(number, [level] * EPOCHS) for number, level in enumerate([0.2, 0.3, 0.4, 0.5])]
    early, late = (told(recipe, [*finished, trained(4, [0.6] * at, "stopped")])[0][4] for at in (3, 4))
    assert late == pytest.approx(60.0)
    assert early == pytest.approx(35.0 + (1 + 0.75 / 2) / 1.75 * 25.0)


def test_a_diverged_trial_counts_as_the_worst(recipe: Recipe) -> None:
    values, _ = told(recipe, [trained(0, curve(0.4)), trained(1, curve(0.2)), trained(2, [0.9], "diverged")])
    assert values[2] == min(values[:2])


def test_too_many_trials_leave_out_stopped_ones_and_then_the_oldest(recipe: Recipe) -> None:
    finished = [trained(number, [number / 200] * EPOCHS) for number in range(MOST)]
    stopped = [trained(MOST + number, [0.1, 0.1], "stopped") for number in range(5)]
    values, _ = told(recipe, [*finished, *stopped])
    assert sorted(values) == pytest.approx([number / 2 for number in range(MOST)])
    values, _ = told(recipe, [*finished, trained(MOST, [0.9] * EPOCHS)])
    assert sorted(values) == pytest.approx([*(number / 2 for number in range(1, MOST)), 90.0])
