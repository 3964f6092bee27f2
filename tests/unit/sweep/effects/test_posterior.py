"""The effects model against values computed once by hand-written formulas, and over every kind of parameter."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ikd.config import SearchSpace
from ikd.errors import ConfigError
from ikd.sweep import posterior

Values = dict[str, Any]
FOUR: dict[str, Any] = {
    "distill.host": {"choice": ["fgd", "mgd", "cwd"]},
    "distill.fgd.temperature": {"uniform": [0.0, 1.0], "when": {"distill.host": "fgd"}},
    "augment.noise.sigma": {"uniform": [0.0, 1.0]},
    "augment.enabled": {"choice": [False, True]},
}


def space_of(parameters: Mapping[str, Any]) -> SearchSpace:
    return SearchSpace.model_validate({"recipe": "drawn_r18", "parameters": dict(parameters)})


def configuration(host: int, weight: float, unit: float, flag: int) -> Values:
    names = dict(zip(FOUR, ("fgd mgd cwd".split()[host], weight, unit, bool(flag)), strict=True))
    return names if host == 0 else {name: value for name, value in names.items() if name != "distill.fgd.temperature"}


def trainings(count: int, offset: int) -> list[tuple[Values, float]]:
    found = []
    for index in range(count):
        host, flag = (index + offset) % 3, index // 2 % 2
        unit, weight = (0.37 * index + 0.11 + 0.05 * offset) % 1, (0.61 * index + 0.29) % 1
        value = 30 + 1.5 * math.sin(2.1 * index + offset) + 2 * (host == 0)
        value += -3 * (unit - 0.6) ** 2 + 0.8 * flag * (host == 1)
        found.append((configuration(host, weight, unit, flag), value))
    return found


def test_twelve_trainings_have_the_reference_posterior() -> None:
    told = trainings(12, 0)
    asked = [configuration(*one) for one in [(0, 0.4, 0.6, 1), (1, 0.0, 0.2, 0), (2, 0.0, 0.9, 1)]] + [told[3][0]]
    means, deviations, noise = posterior(space_of(FOUR), told, asked)
    np.testing.assert_allclose(means, [31.9961713042, 30.8325888651, 28.6410144431, 31.5288747541], atol=1e-9)
    np.testing.assert_allclose(deviations, [0.874955761, 0.5974194537, 0.4778476137, 0.5008083849], atol=1e-9)
    assert noise == pytest.approx(0.33020548214517087, abs=1e-12)
    own, _, _ = posterior(space_of(FOUR), told, [values for values, _ in told])
    assert int(np.argmax(own)) == 9
    assert own.max() == pytest.approx(31.8424896876, abs=1e-9)


def test_a_repeated_training_narrows_what_is_known_of_its_configuration() -> None:
    told = trainings(12, 1)
    _, (before,), _ = posterior(space_of(FOUR), told, [told[4][0]])
    _, (after,), _ = posterior(space_of(FOUR), told + [told[4]] * 3, [told[4][0]])
    assert after < 0.8 * before


@pytest.mark.parametrize(
    ("domain", "low", "high"),
    [
        ({"uniform": [1.0, 3.0]}, 1.0, 3.0),
        ({"log_uniform": [1e-6, 1e-2]}, 1e-6, 1e-2),
        ({"int": [1, 9]}, 1, 9),
        ({"log_int": [1, 900]}, 1, 900),
        ({"uniform": [0.0, 1.0], "step": 0.25}, 0.0, 1.0),
        ({"log_uniform": [1.0, 16.0], "factor": 2}, 1.0, 16.0),
        ({"choice": [False, True]}, False, True),
        ({"choice": [["a"], ["a", {"teacher": "b", "share": 0.5}]]}, ["a"], ["a", {"teacher": "b", "share": 0.5}]),
    ],
)
def test_every_kind_of_parameter_has_an_effect(domain: dict[str, Any], low: Any, high: Any) -> None:
    told = [({"x": value}, result) for _ in range(3) for value, result in ((low, 10.0), (high, 20.0))]
    means, _, _ = posterior(space_of({"x": domain}), told, [{"x": low}, {"x": high}])
    assert means[0] < 12 < 18 < means[1]


def test_lists_and_files_mean_the_same_space() -> None:
    written = space_of(FOUR)
    assert written == SearchSpace.model_validate_json(json.dumps({"recipe": "drawn_r18", "parameters": FOUR}))


def test_a_value_that_does_not_exist_does_not_act() -> None:
    told, space = trainings(12, 0), space_of(FOUR)
    mgd = configuration(1, 0.0, 0.2, 0)
    means, _, _ = posterior(space, told, [mgd, {**mgd, "distill.fgd.temperature": 0.9, "seed": 7}])
    assert means[0] == means[1]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ([], r"told: must hold at least one training"),
        ([(configuration(1, 0, 0.2, 0), math.nan)], r"told\[0\]: must have a finite objective, but got nan"),
        ([({"distill.host": "mgd", "augment.enabled": True}, 1.0)], r"augment.noise.sigma: must have a value"),
        ([(configuration(1, 0, 2.0, 0), 1.0)], r"augment.noise.sigma: must lie in its domain, uniform .*, but got 2.0"),
        ([({**configuration(1, 0, 0.2, 0), "distill.host": "pkd"}, 1.0)], r"distill.host: must lie in its domain"),
    ],
)
def test_what_it_cannot_learn_from_is_refused(told: list[tuple[Values, float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        posterior(space_of(FOUR), told, [configuration(1, 0.0, 0.2, 0)])
