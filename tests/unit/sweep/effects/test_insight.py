"""What the effects model says of parameters, against functions whose effects are known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ikd.config import SearchSpace, load_recipe
from ikd.sweep.effects.coordinates import Coordinates
from ikd.sweep.effects.insight import Insight
from ikd.sweep.effects.model import Effects, Told
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.importance import LEAST_TRIALS, ped_anova
from tests.unit.sweep.synthetic import record_of

PARAMETERS: dict[str, Any] = {
    "distill.host": {"choice": ["fgd", "mgd"]},
    "distill.mgd.alpha": {"log_uniform": [1e-7, 1e-3], "when": {"distill.host": "mgd"}},
    "augment.noise.sigma": {"uniform": [0.0, 1.0]},
    "adversarial.enabled": {"choice": [True, False]},
    "schedule.batch_size": {"choice": [8]},
}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    content = {"recipe": "drawn_r18", "parameters": PARAMETERS, "anchors": [], "scheduler": {"none": {}}}
    recipe = load_recipe("drawn_r18")
    return SearchSpace.model_validate_json(json.dumps({**content, "budget": {"trials": 60}})).resolved(recipe)


def value(values: dict[str, Any]) -> float:
    """mgd is 2 better, noise loses 6 over its range, adversarial gains 1 with mgd and loses 1 with fgd."""
    mgd = values["distill.host"] == "mgd"
    return 30 + 2 * mgd - 6 * values["augment.noise.sigma"] + (1 if mgd else -1) * values["adversarial.enabled"]


def drawn(space: SearchSpace, count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        units = {name: float(random.random()) for name in space.parameters}
        values = {
            "distill.host": "mgd" if units["distill.host"] < 0.5 else "fgd",
            "distill.mgd.alpha": 10 ** (-7 + 4 * units["distill.mgd.alpha"]),
            "augment.noise.sigma": units["augment.noise.sigma"],
            "adversarial.enabled": units["adversarial.enabled"] < 0.5,
            "schedule.batch_size": 8,
        }
        found.append(space.active(values))
    return found


@pytest.fixture(scope="module")
def insight(space: SearchSpace) -> Insight:
    points = drawn(space, 80)
    values = np.array([value(one) for one in points]) + np.random.default_rng(1).normal(0, 0.2, 80)
    return Insight(space, Effects(Told.plain(Coordinates.of(space, points), values)))


def records(space: SearchSpace, count: int) -> list[TrialRecord]:
    outcomes = [(one, value(one) / 100) for one in drawn(space, count)]
    return [record_of(number, one, ("finished", ap, {})) for number, (one, ap) in enumerate(outcomes)]


def test_joint_and_marginal_posterior_agree(space: SearchSpace) -> None:
    points, asked = drawn(space, 20), Coordinates.of(space, drawn(space, 30)[20:])
    model = Effects(Told.plain(Coordinates.of(space, points), np.array([value(one) for one in points])))
    (means, variances), (same, covariance) = model.posterior(asked), model.joint(asked)
    np.testing.assert_allclose(same, means)
    np.testing.assert_allclose(np.diag(covariance), variances, atol=1e-9)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-9)


def test_what_does_not_vary_is_left_out(insight: Insight) -> None:
    assert "schedule.batch_size" not in insight.names
    assert len(insight.names) == 4


def test_a_main_effect_is_found_with_its_interval(insight: Insight) -> None:
    noise = insight.main("augment.noise.sigma")
    assert (noise.values[0], noise.values[-1]) == (0.0, 1.0), "a range is looked at to its ends"
    change, low, high = noise.difference(len(noise.values) - 1, 0)
    assert low < -6 < high
    assert change == pytest.approx(-6, abs=1.0)
    assert noise.spread_interval[0] <= noise.spread <= noise.spread_interval[1]
    assert noise.spread == pytest.approx(6 / 12**0.5, abs=0.5)
    assert (noise.low < noise.mean).all()
    assert (noise.mean < noise.high).all()


def test_what_does_nothing_has_a_small_spread(insight: Insight) -> None:
    spreads = {name: insight.main(name).spread for name in insight.names}
    assert max(spreads, key=lambda name: spreads[name]) == "augment.noise.sigma"
    assert spreads["distill.mgd.alpha"] < 0.4 * spreads["distill.host"]


def test_a_child_is_looked_at_where_it_exists(insight: Insight) -> None:
    """Under mgd everything is 2 better: an average over fgd, too, would lie between."""
    mean = float(insight.main("distill.mgd.alpha").mean.mean())
    assert mean == pytest.approx(30 + 2 - 3 + 0.5, abs=0.5)


def test_an_interaction_is_found(insight: Insight) -> None:
    host = insight.pair("distill.host", "adversarial.enabled")
    other = insight.pair("augment.noise.sigma", "adversarial.enabled")
    assert host.strength == pytest.approx(0.5, abs=0.2), "+-1/2 around the sum of both"
    assert other.strength < 0.4 * host.strength
    assert host.mean.shape == (2, 2)


def test_a_parameter_and_its_parent_are_no_pair(insight: Insight) -> None:
    assert not insight.together("distill.host", "distill.mgd.alpha")
    assert insight.together("distill.mgd.alpha", "adversarial.enabled")


def test_a_path_leads_from_one_to_the_other_by_what_brings_most(insight: Insight, space: SearchSpace) -> None:
    start = {"distill.host": "fgd", "augment.noise.sigma": 0.9, "adversarial.enabled": True, "schedule.batch_size": 8}
    end = {**start, "distill.host": "mgd", "distill.mgd.alpha": 1e-5, "augment.noise.sigma": 0.1}
    steps = insight.path(start, end)
    assert dict(steps[0].values) == start
    assert dict(steps[-1].values) == end
    assert [set(step.changes) for step in steps] == [
        set(),
        {"augment.noise.sigma"},
        {"distill.host", "distill.mgd.alpha"},
    ], "a child comes with its parent"
    for step in steps[1:]:
        assert step.interval[0] <= step.gain <= step.interval[1]
    assert steps[1].gain == pytest.approx(4.8, abs=1.0)
    total = sum(step.gain for step in steps)
    assert total == pytest.approx(steps[-1].mean - steps[0].mean)
    assert len(insight.path(end, end)) == 1
    assert dict(insight.path(end, start)[-1].values) == start, "and back: what no longer exists goes"


def test_little_is_left_beyond_the_best_and_much_beyond_a_bad_one(insight: Insight) -> None:
    best = {"distill.host": "mgd", "distill.mgd.alpha": 1e-5, "augment.noise.sigma": 0.0, "adversarial.enabled": True}
    bad = {"distill.host": "fgd", "augment.noise.sigma": 1.0, "adversarial.enabled": True}
    fixed = {"schedule.batch_size": 8}
    near, far = insight.left({**best, **fixed}), insight.left({**bad, **fixed})
    assert near.expected < 1.0
    assert far.expected == pytest.approx(10, abs=1.5)
    assert far.half_point == 1.0
    assert far.most["distill.host"] == "mgd"
    assert far.interval[0] <= far.expected <= far.interval[1]


def test_nothing_is_known_before_a_trial_has_finished(space: SearchSpace) -> None:
    recipe = load_recipe("drawn_r18")
    assert Insight.of(space, recipe, []) is None
    assert Insight.of(space, recipe, records(space, 3)) is not None


def test_ped_anova_names_what_decides(space: SearchSpace) -> None:
    assert ped_anova(space, records(space, LEAST_TRIALS - 1)) is None
    found = ped_anova(space, records(space, 40))
    assert found is not None
    assert next(iter(found)) == "augment.noise.sigma"
    assert sum(share for share, _, _ in found.values()) == pytest.approx(1)
    assert all(low <= high for _, low, high in found.values())
    assert ped_anova(space, records(space, 40)) == found, "the same every time"
