"""What is believed of configurations, whose repetition is worth most, and what trainings kept apart say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ikd.config import Recipe, SearchSpace
from ikd.sweep import posterior
from ikd.sweep.confirm.apart import gain_of
from ikd.sweep.confirm.gradient import knowledge_gradient
from ikd.sweep.confirm.phases import most_worth
from ikd.sweep.confirm.said import said_of_choice
from ikd.sweep.confirm.standing import Configuration, Standing, standing
from ikd.sweep.records.trials import Report, TrialRecord
from tests.unit.sweep.conftest import make_space
from tests.unit.sweep.effects.test_posterior import FOUR, trainings


def record(number: int, values: Any, points: float, **more: Any) -> TrialRecord:
    reports = (Report(1, {"bbox_mAP": points / 100}, 1.0, number),)
    given = {"state": "finished", "metric": points / 100, "reports": reports, "in_space": True, "anchors": (), **more}
    return TrialRecord(number, f"{number}", values=values, fingerprint="", directory=Path(), **given)


@pytest.fixture
def space() -> SearchSpace:
    return make_space(parameters=FOUR, anchors=["student_alone"], scheduler={"none": {}})


@pytest.fixture
def twelve() -> list[TrialRecord]:
    return [record(number, values, value) for number, (values, value) in enumerate(trainings(12, 0))]


def apart(number: int, of: int, points: float, seed: int = 1000) -> TrialRecord:
    return record(number, {"seed": seed}, points, role="apart", of=of, in_space=False)


def test_the_choice_is_the_reference_one(space: SearchSpace, recipe: Recipe, twelve: list[TrialRecord]) -> None:
    known = standing(space, recipe, twelve)
    assert known is not None
    means, deviations, noise = posterior(space, trainings(12, 0), [values for values, _ in trainings(12, 0)])
    assert known.chosen.number == 9
    assert known.chosen.mean == pytest.approx(31.8424896876, abs=1e-9)
    assert known.chosen.variance == pytest.approx(deviations[9] ** 2 + 0.1 * noise, abs=1e-12)
    assert most_worth(known).number == 9
    seen = max(twelve, key=lambda one: one.metric or 0.0)
    assert known.seen is seen
    assert known.luck == pytest.approx(100 * (seen.metric or 0.0) - means[seen.number], abs=1e-9)


def test_repeats_weigh_by_their_precision(space: SearchSpace, recipe: Recipe, twelve: list[TrialRecord]) -> None:
    before = standing(space, recipe, twelve)
    assert before is not None
    again = [
        record(12 + k, {"seed": k}, value, role="repeat", of=9, in_space=False) for k, value in ((1, 30.0), (2, 31.0))
    ]
    known = standing(space, recipe, [*twelve, *again])
    assert known is not None
    one, was = known.of(twelve[9]), before.of(twelve[9])
    assert one is not None
    assert was is not None
    own = [100 * (twelve[9].metric or 0.0), 30.0, 31.0]
    pooled = (4 * known.noise + np.var(own) * 3) / (4 + 2)
    assert known.noise == before.noise, "the model sees the search's own"
    assert known.pooled == pytest.approx(pooled)
    precision = 1 / was.variance + 2 / pooled
    assert one.mean == pytest.approx((was.mean / was.variance + 61.0 / pooled) / precision)
    assert one.variance == pytest.approx(1 / precision)
    assert known.training.number in (9, 13, 14) or known.chosen.number != 9
    assert sum(known.chances.values()) == pytest.approx(1.0)
    assert known.chances == standing(space, recipe, [*twelve, *again]).chances  # type: ignore[union-attr]


def test_a_failed_a_diverged_and_a_stopped_trial_are_never_chosen(
    space: SearchSpace, recipe: Recipe, twelve: list[TrialRecord]
) -> None:
    for state in ("failed", "diverged", "stopped", "running"):
        bad = replace(twelve[9], state=state, reports=(Report(1, {"bbox_mAP": 0.9}, 1.0, 9),))
        known = standing(space, recipe, [*twelve[:9], bad, *twelve[10:]])
        assert known is not None
        assert known.of(bad) is None
    assert standing(space, recipe, []) is None


def test_a_lucky_training_is_not_chosen_for_its_luck(recipe: Recipe) -> None:
    """Three of a good host, one of a bad one with the best value of all: what its kind does weighs more."""
    space = make_space(
        parameters={"distill.host": {"choice": ["fgd", "mgd"]}, "augment.noise.sigma": {"uniform": [0, 1]}}
    )
    values = [("fgd", 0.1 * k, 35.0 + 0.2 * (k % 2)) for k in range(8)] + [("mgd", 0.1 * k, 30.0) for k in range(7)]
    values.append(("mgd", 0.75, 35.4))
    records = [record(n, {"distill.host": h, "augment.noise.sigma": s}, p) for n, (h, s, p) in enumerate(values)]
    known = standing(space, recipe, records)
    assert known is not None
    assert known.seen.number == 15
    assert known.chosen.number < 8
    assert known.luck > 0.5


@pytest.mark.parametrize("far", [0.0, 0.3, 2.0, 40.0, 1e3, 1e5])
def test_the_gradient_is_what_integration_gives(far: float) -> None:
    means, variances, noise = np.array([far, 0.0]), np.array([0.5, 0.2]), 0.3
    found = knowledge_gradient(means, variances, noise)
    scales = variances / np.sqrt(variances + noise)
    assert np.isfinite(found).all()
    if far <= 2.0:
        grid = np.linspace(-12, 12, 200_001)
        for index, scale in enumerate(scales):
            gained = np.maximum(means[index] + scale * grid, means[1 - index]) - max(means)
            expected = np.trapezoid(gained * stats.norm.pdf(grid), grid)
            assert math.exp(found[index]) == pytest.approx(float(expected), rel=1e-5)
    assert knowledge_gradient(means[:1], variances[:1], noise).tolist() == [0.0]


def test_running_repeats_count_as_done() -> None:
    def one(number: int, mean: float, running: int) -> Configuration:
        return Configuration((record(number, {}, mean),), running, mean, 1.0)

    space = make_space(parameters=FOUR)
    assert most_worth(Standing(space, (one(0, 30.1, 0), one(1, 30.0, 0)), 0.5, 0.5)).number == 0
    assert most_worth(Standing(space, (one(0, 30.1, 3), one(1, 30.0, 0)), 0.5, 0.5)).number == 1


def test_the_gain_has_the_interval_of_its_formula(
    space: SearchSpace, recipe: Recipe, twelve: list[TrialRecord]
) -> None:
    alone = record(12, {}, 29.0, anchors=("student_alone",), in_space=False)
    own, others = [32.0, 31.0, 31.5], [29.0, 30.0]
    records = [*twelve, alone, *[apart(13 + k, 9, value) for k, value in enumerate(own)]]
    records += [apart(16 + k, 12, value) for k, value in enumerate(others)]
    known = standing(space, recipe, records)
    assert known is not None
    gain = gain_of(space, records, known)
    assert gain is not None
    freedom = 4 + 2 + 1
    scale = math.sqrt((4 * known.noise + 0.5 + 0.5) / freedom * (1 / 3 + 1 / 2))
    half = stats.t.ppf(0.95, freedom) * scale
    assert gain.difference == pytest.approx(2.0)
    assert gain.interval == pytest.approx((2.0 - half, 2.0 + half))
    assert gain.probability == pytest.approx(stats.t.cdf(2.0 / scale, freedom))
    lines = list(said_of_choice(space, records, known, "x"))
    assert lines[0].startswith("chosen: trial 9 (x); expected bbox_mAP 31.8 [")
    assert "better than the student alone with probability" in lines[1]
    assert "+2.0 [" in lines[1]
    assert lines[1].endswith("from 3 + 2 trainings kept apart")
    assert "is expected to be the luck of its seed" in lines[2]


@pytest.mark.parametrize(
    ("own", "others", "said"),
    [
        (1, 3, "not confirmed: fewer than 2 trainings of it were kept apart"),
        (0, 0, "not confirmed: fewer than 2 trainings of it were kept apart"),
        (3, 1, "not confirmed"),
        (3, 0, "there is no anchor to compare it with"),
    ],
)
def test_too_few_confirm_nothing(
    own: int, others: int, said: str, space: SearchSpace, recipe: Recipe, twelve: list[TrialRecord]
) -> None:
    space = space.model_copy(update={"budget": make_space(budget={"trials": 40}).budget})
    alone = record(12, {}, 29.0, anchors=("student_alone",), in_space=False)
    records = [*twelve, alone, *[apart(13 + k, 9, 31.0) for k in range(own)]]
    records += [apart(13 + own + k, 12, 29.0) for k in range(others)]
    known = standing(space, recipe, records)
    assert known is not None
    assert gain_of(space, records, known) is None
    assert said in list(said_of_choice(space, records, known, "x"))[1]


def test_the_smaller_may_be_the_better(recipe: Recipe) -> None:
    space = make_space(parameters=FOUR, objective={"metric": "bbox_mAP", "mode": "min"})
    records = [record(number, values, value) for number, (values, value) in enumerate(trainings(12, 0))]
    known = standing(space, recipe, records)
    assert known is not None
    assert 100 * (known.chosen.trainings[0].metric or 0.0) < 30.0
    line = next(iter(said_of_choice(space, records, known, "x")))
    assert f"expected bbox_mAP {-known.chosen.mean:.1f} [" in line
