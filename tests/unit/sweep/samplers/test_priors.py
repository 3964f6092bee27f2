"""Priors: where draws fall, against closed forms, and how they fade as trials tell more."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import truncnorm

from ikd.config import Domain, Recipe
from ikd.sweep.records.domains import at
from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.priors import UnitPrior, picked
from ikd.sweep.samplers.registry import drawn_values
from tests.unit.sweep.synthetic import AXES, CUBE, played, record_of, synthetic_recipe, synthetic_space

FIRST = AXES[0]


def prior(**content: Any) -> UnitPrior:
    return UnitPrior(Domain.model_validate_json(json.dumps(content)))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return synthetic_recipe()


@pytest.mark.parametrize("around", [0.0, 1.0, 2.6])
@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
def test_a_range_is_drawn_from_a_normal_cut_at_its_ends(around: float, spread: float) -> None:
    found = prior(uniform=[0.0, 4.0], prior={"spread": spread, "around": around})
    mean = around / 4
    exact = truncnorm(-mean / spread, (1 - mean) / spread, mean, spread)
    for probability in (0.001, 0.1, 0.5, 0.9, 0.999):
        assert found.quantile(probability) == pytest.approx(exact.ppf(probability), abs=1e-9)
    assert 0 <= found.quantile(0.0) <= found.quantile(1e-6)
    assert found.quantile(1 - 1e-6) <= found.quantile(1.0) <= 1
    for value in (0.0, 1.0, 4.0):
        assert found.log_density(value) == pytest.approx(exact.logpdf(value / 4))


def test_spread_is_a_share_of_the_range_in_the_logarithm() -> None:
    """Range of four decades: a standard deviation of 0.25 is one decade."""
    found = prior(log_uniform=[1e-6, 1e-2], prior={"spread": 0.25, "around": 1e-4})
    gap = found.log_density(1e-4) - found.log_density(1e-5)
    assert gap == pytest.approx(0.5), "one standard deviation off"
    values = [math.log10(at(found.domain, found.quantile((n + 0.5) / 999))) for n in range(999)]
    assert statistics.median(values) == pytest.approx(-4)


def test_a_choice_has_its_share_and_the_others_the_rest() -> None:
    found = prior(choice=["a", "b", "c", "d"], prior={"spread": 0.4, "around": "c"})
    drawn = Counter(at(found.domain, found.quantile((n + 0.5) / 1000)) for n in range(1000))
    assert drawn == {"a": 100, "b": 100, "c": 700, "d": 100}, "1 - 0.4 + 0.4 / 4 for the one expected"
    assert [found.log_density(one) for one in "abcd"] == pytest.approx(np.log([0.4, 0.4, 2.8, 0.4]).tolist())


def test_an_expected_choice_outside_the_space_says_nothing() -> None:
    found = prior(choice=["a", "b"], prior={"spread": 0.1, "around": "z"})
    assert [found.log_density(one) for one in "ab"] == [0.0, 0.0]


@pytest.mark.parametrize(
    "domain",
    [{"int": [2, 10], "step": 2}, {"uniform": [0.0, 1.0], "step": 0.25}, {"log_uniform": [1.0, 16.0], "factor": 2.0}],
)
def test_a_grid_has_the_weight_of_its_cells(domain: dict[str, Any]) -> None:
    """Five values, expected at the middle one: the cells are [-0.1, 0.1], [0.1, 0.3] off the mean and so on."""
    middle = {"int": 6, "uniform": 0.5, "log_uniform": 4.0}[next(iter(domain))]
    found = prior(**domain, prior={"spread": 0.2, "around": middle})
    drawn = Counter(at(found.domain, found.quantile((n + 0.5) / 10_000)) for n in range(10_000))
    exact = truncnorm(-2.5, 2.5, 0.5, 0.2)
    shares = np.diff(exact.cdf([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    grid = found.domain.grid()
    assert grid is not None
    assert [drawn[value] / 10_000 for value in grid] == pytest.approx(shares.tolist(), abs=2e-4)


def test_a_value_outside_the_range_expects_its_nearest_end() -> None:
    found = prior(uniform=[1.0, 2.0], prior={"spread": 0.1, "around": 9.0})
    assert found.centre == (1.0, 0.1)
    assert prior(uniform=[1.0, 2.0], prior={"spread": 0.1, "around": None}).centre == (0.5, 0.1)


def test_the_exponent_weighs_the_prior() -> None:
    """Two candidates whose densities have the ratio 9: picked in the ratio 9, 3 and 1."""
    found = prior(choice=[1, 2], prior={"spread": 0.2, "around": 1})
    candidates = [{"x": 1}, {"x": 2}]
    for exponent, share in ((1.0, 0.9), (0.5, 0.75), (0.0, 0.5)):
        count = sum(picked(candidates, {"x": found}, exponent, seed)["x"] == 1 for seed in range(2000)) / 2000
        assert count == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 2000))


def test_a_parameter_that_does_not_exist_has_no_weight() -> None:
    found = prior(choice=[1, 2], prior={"spread": 1e-6, "around": 1})
    count = sum("x" in picked([{"x": 1}, {"y": 0}], {"x": found}, 1.0, seed) for seed in range(2000)) / 2000
    assert count == pytest.approx(2 / 3, abs=0.05), "a density of two against one"


def expecting(value: float, spread: float = 0.1) -> dict[str, Any]:
    return {FIRST: {**CUBE[FIRST], "prior": {"spread": spread, "around": value}}, AXES[1]: CUBE[AXES[1]]}


def test_the_recipes_own_value_is_expected_unless_another_is_named(recipe: Recipe) -> None:
    parameters = {FIRST: {**CUBE[FIRST], "prior": {"spread": 0.05}}}
    space = synthetic_space(recipe, {"random": {}}, parameters=parameters)
    drawn = [next(drawn_values(History(space, recipe, (), number)))[FIRST] for number in range(30)]
    assert statistics.mean(drawn) == pytest.approx(recipe.value(FIRST), abs=0.05)


def test_cmaes_starts_where_good_values_are_expected(recipe: Recipe) -> None:
    space = synthetic_space(recipe, {"cmaes": {"sigma": 1e-9}}, parameters=expecting(0.7))
    start = next(drawn_values(History(space, recipe, (), 0)))
    assert list(start.values()) == pytest.approx([0.7, recipe.value(AXES[1])], abs=1e-6)


def told(recipe: Recipe, count: int) -> tuple[Any, ...]:
    """Trials of equal value all over the space: nothing but the prior prefers a place."""
    space = synthetic_space(recipe, {"qmc": {}}, parameters={name: CUBE[name] for name in AXES[:2]})
    records = played(space, recipe, lambda values: ("finished", 0.3, {}), count)
    return tuple(record_of(one.number, dict(one.values), ("finished", 0.3, {})) for one in records)


def far(recipe: Recipe, sampler: dict[str, Any], count: int, draws: int) -> float:
    """Mean distance of proposals from the value expected, after `count` trials were told."""
    space = synthetic_space(recipe, sampler, parameters=expecting(0.3))
    records = told(recipe, count)
    drawn = [next(drawn_values(History(space, recipe, records, 200 + n))) for n in range(draws)]
    return statistics.mean(abs(one[FIRST] - 0.3) for one in drawn)


def test_the_prior_fades_under_tpe(recipe: Recipe) -> None:
    """With 4 start-up trials its exponent is 1 after 4 trials and 1 / 25 after 100."""
    soon, late = (far(recipe, {"tpe": {"startup_trials": 4}}, count, 16) for count in (4, 100))
    assert soon < 0.6 * late


def test_the_prior_fades_under_a_gaussian_process(recipe: Recipe) -> None:
    """Exponents of 1 and 1 / 8: with the same start-up share the distance is that of the spread."""
    soon, late = (far(recipe, {"gp": {"startup_trials": startup}}, 16, 4) for startup in (16, 1))
    assert soon < 0.1
    assert soon < 0.6 * late
