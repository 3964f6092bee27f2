"""Domains as distributions, names and places of the unit interval."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ikd.config import Domain
from ikd.sweep.records.domains import at, contains, nearest, place
from ikd.sweep.study.distributions import distribution_of, meant, point, stored
from tests.unit.sweep.conftest import make_space

DOMAINS: list[dict[str, Any]] = [
    {"choice": ["a", None, [1, 2], True]},
    {"choice": {"small": [96, 96], "large": [128, 128]}},
    {"uniform": [0.1, 0.7]},
    {"uniform": [0.1, 0.75], "step": 0.1},
    {"log_uniform": [1e-6, 1e-2]},
    {"log_uniform": [1e-6, 1e-4], "factor": 10.0},
    {"int": [2, 9], "step": 3},
    {"int": [0, 1000000]},
    {"log_int": [1, 1000]},
    {"log_int": [8, 128], "factor": 2.0},
    {"log_int": [3, 50], "factor": 1.5},
]


def domain_of(content: dict[str, Any]) -> Domain:
    return Domain.model_validate_json(json.dumps(content))


def values_of(domain: Domain) -> list[Any]:
    grid = domain.grid()
    if grid is not None and len(grid) < 2000:
        return list(grid)
    return [at(domain, unit / 50) for unit in range(51)]


@pytest.mark.parametrize("content", DOMAINS, ids=str)
def test_places_and_values_are_inverse_and_in_order(content: dict[str, Any]) -> None:
    domain = domain_of(content)
    for value in values_of(domain):
        back = at(domain, place(domain, value))
        assert back == (pytest.approx(value) if isinstance(value, float) else value)
        assert contains(domain, value)
        assert 0 <= place(domain, value) <= 1
    places = [place(domain, value) for value in values_of(domain)]
    assert places == sorted(places)


@pytest.mark.parametrize("content", DOMAINS, ids=str)
def test_optuna_draws_and_stores_what_the_domain_means(content: dict[str, Any]) -> None:
    domain, name = domain_of(content), "input.scale"
    distribution = distribution_of(domain)
    for value in values_of(domain):
        kept = stored(domain, value)
        assert distribution._contains(distribution.to_internal_repr(kept))
        again = meant(domain, distribution.to_external_repr(distribution.to_internal_repr(kept)))
        assert again == (pytest.approx(value) if isinstance(value, float) else value)
    space = make_space(parameters={name: content})
    assert point(space, {name: values_of(domain)[0], "seed": 3}) == {name: stored(domain, values_of(domain)[0])}


@pytest.mark.parametrize(
    ("content", "distribution"),
    [
        ({"log_int": [1, 1000]}, IntDistribution(1, 1000, log=True)),
        ({"log_int": [8, 128], "factor": 4.0}, FloatDistribution(4.0, 256.0, log=True)),
        ({"log_uniform": [1e-6, 1e-4], "factor": 100.0}, FloatDistribution(1e-7, 1e-3, log=True)),
        ({"choice": {"small": [96, 96], "large": 5}}, CategoricalDistribution(["small", "large"])),
        ({"choice": [[96, 96], 5]}, CategoricalDistribution(["[96, 96]", 5])),
    ],
)
def test_distributions(content: dict[str, Any], distribution: Any) -> None:
    found: Any = distribution_of(domain_of(content))
    assert type(found) is type(distribution)
    if isinstance(found, FloatDistribution):
        assert [found.low, found.high] == pytest.approx([distribution.low, distribution.high])
        assert found.log == distribution.log
    else:
        assert found == distribution


@pytest.mark.parametrize(
    "content", [{"log_uniform": [1e-6, 1e-4], "factor": 10.0}, {"log_int": [8, 64], "factor": 2.0}]
)
def test_every_value_of_a_grid_of_factors_is_equally_likely(content: dict[str, Any]) -> None:
    domain = domain_of(content)
    grid, distribution = domain.grid(), distribution_of(domain)
    assert grid is not None
    assert isinstance(distribution, FloatDistribution)
    low, high = math.log(distribution.low), math.log(distribution.high)
    units = [(index + 0.5) / 1200 for index in range(1200)]
    drawn = Counter(meant(domain, math.exp(low + unit * (high - low))) for unit in units)
    assert drawn == {value: 1200 / len(grid) for value in grid}
    assert Counter(at(domain, unit) for unit in units) == drawn


def test_whole_numbers_in_the_logarithm_fall_as_in_optuna() -> None:
    domain = domain_of({"log_int": [1, 4]})
    drawn = Counter(at(domain, (index + 0.5) / 10_000) for index in range(10_000))
    width = math.log(9)  # from 0.5 to 4.5
    shares = [math.log((n + 0.5) / (n - 0.5)) / width for n in range(1, 5)]
    assert [drawn[n] / 10_000 for n in range(1, 5)] == pytest.approx(shares, abs=2e-4)
    sampler = optuna.samplers.RandomSampler(0)
    trial = optuna.create_study(sampler=sampler).ask()
    counted = Counter(
        sampler.sample_independent(trial.study, trial._cached_frozen_trial, "x", distribution_of(domain))
        for _ in range(2000)
    )
    assert [counted[n] / 2000 for n in range(1, 5)] == pytest.approx(shares, abs=0.04)


@pytest.mark.parametrize(
    ("content", "inside", "outside"),
    [
        ({"uniform": [0.1, 0.7], "step": 0.1}, [0.1, 0.3, 0.7, 0.1 + 0.2], [0.35, 0.8, True, None, "a"]),
        ({"log_uniform": [1e-6, 1e-4], "factor": 10.0}, [1e-6, 1e-5, 0.0001], [2e-6, 0.0, -1.0, 1e-3]),
        ({"log_int": [8, 64], "factor": 2.0}, [8, 64, 16.0], [9, 128]),
        ({"int": [2, 9], "step": 3}, [2, 5, 8], [9, 3, 2.5]),
        ({"log_int": [1, 9]}, [1, 7], [0, 2.5]),
        ({"choice": {"small": [96, 96]}}, [[96, 96]], ["small", [96, 97]]),
    ],
)
def test_what_lies_in_a_domain(content: dict[str, Any], inside: list[Any], outside: list[Any]) -> None:
    domain = domain_of(content)
    assert [contains(domain, value) for value in inside] == [True] * len(inside)
    assert [contains(domain, value) for value in outside] == [False] * len(outside)


def test_the_nearest_value_is_by_ratio_on_a_grid_of_factors() -> None:
    domain = domain_of({"log_uniform": [1.0, 100.0], "factor": 10.0})
    assert [nearest(domain, value) for value in (0.1, 3.1, 3.2, 31.0, 32.0, 900.0)] == [
        1.0,
        1.0,
        10.0,
        10.0,
        100.0,
        100.0,
    ]
    steps = domain_of({"uniform": [0.0, 1.0], "step": 0.5})
    assert [nearest(steps, value) for value in (-1.0, 0.2, 0.3, 0.9)] == [0.0, 0.0, 0.5, 1.0]
    whole = domain_of({"int": [2, 9], "step": 3})
    assert [nearest(whole, value) for value in (0, 3, 4, 99)] == [2, 2, 5, 8]
