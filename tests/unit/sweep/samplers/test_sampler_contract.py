"""What every sampler of the registry does: a new one is in all of these tests by its key."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import kstest, truncnorm

from ikd.config import Recipe
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.domains import contains, place
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.registry import SAMPLERS, drawn_values
from ikd.trial import State
from tests.unit.sweep.synthetic import (
    AXES,
    CUBE,
    Objective,
    Outcome,
    distance,
    record_of,
    swept,
    synthetic_recipe,
    synthetic_space,
)

SMALL: dict[str, list[dict[str, Any]]] = {
    "effects": [{"startup_trials": 6}, {"startup_trials": 6, "with_tpe": False}],
    "tpe": [{"startup_trials": 6}],
    "cmaes": [{"population": 5}],
    "gp": [{"startup_trials": 5}],
    "nsga2": [{"population": 5}],
    "qmc": [{}, {"sequence": "halton"}],
}
"""Settings with which a few trials show the whole sampler; its defaults where there is none."""
FINITE: list[dict[str, Any]] = [{"grid": {}}]
"""Refused for a space with a continuous range."""
CONTINUOUS = [{kind: one} for kind in SAMPLERS for one in SMALL.get(kind, [{}]) if {kind: one} not in FINITE]
ANY_SPACE = [sampler for sampler in CONTINUOUS if "cmaes" not in sampler]
"""Take choices and conditions too."""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return synthetic_recipe()


def named(sampler: dict[str, Any]) -> str:
    return "-".join([*sampler, *map(str, sampler.get("qmc", {}).values())])


def mixed(values: dict[str, Any]) -> Outcome:
    """A bowl of which a part diverges and a part is stopped; with a cost."""
    far = distance(values, 0.3)
    state: State = "diverged" if values[AXES[0]] > 0.8 else "stopped" if far > 0.5 else "finished"
    return state, math.nan if state == "diverged" else 0.5 - 0.3 * far, {"gflops": values[AXES[1]]}


@pytest.mark.parametrize("costs", [[], ["gflops"]])
@pytest.mark.parametrize("sampler", CONTINUOUS, ids=named)
def test_a_restarted_sweep_proposes_what_an_uninterrupted_one_would(
    sampler: dict[str, Any], costs: list[str], recipe: Recipe
) -> None:
    trials = 9 if "gp" in sampler else 16
    whole = swept(synthetic_space(recipe, sampler, costs=costs), recipe, mixed, trials)
    assert len({record.state for record in whole}) >= 2
    for cut in [trials - 2] if "gp" in sampler else [trials - 8, trials - 3]:
        space = synthetic_space(synthetic_recipe(), sampler, costs=costs)
        assert swept(space, synthetic_recipe(), mixed, trials, whole[:cut]) == whole
    other = swept(synthetic_space(recipe, sampler, costs=costs, seed=1), recipe, mixed, 3)
    assert [record.values for record in other] != [record.values for record in whole[:3]]


@pytest.mark.parametrize("sampler", CONTINUOUS, ids=named)
def test_open_and_lost_trials_are_part_of_what_a_proposal_follows_from(sampler: dict[str, Any], recipe: Recipe) -> None:
    space = synthetic_space(recipe, sampler)
    done = swept(space, recipe, mixed, 8)
    now = [*done[:5], *[replace(one, state="running", reports=(), metric=None) for one in done[5:7]]]
    now.append(replace(done[7], state="failed", metric=None))
    first, again = propose(space, recipe, now), propose(space, recipe, now)
    assert first is not None
    assert first == again
    assert first.recipe.fingerprint() not in {record.fingerprint for record in now}


RICH: dict[str, Any] = {
    "distill.host": {"choice": ["fgd", "mgd", "none"]},
    "distill.mgd.alpha": {"log_uniform": [1e-6, 64e-6], "factor": 4.0, "when": {"distill.host": "mgd"}},
    "distill.fgd.temperature": {"uniform": [0.1, 0.9], "step": 0.2, "when": {"distill.host": "fgd"}},
    "augment.enabled": {"choice": [True, False]},
    "augment.crop.min_ratio": {
        "uniform": [0.2, 0.9],
        "when": {"any": [{"distill.host": "mgd"}, {"augment.enabled": True, "not": {"distill.host": "none"}}]},
    },
    "input.scale": {"choice": {"small": [96, 96], "large": [128, 128]}},
    "attack.steps": {"log_int": [1, 12]},
    "distill.me.theta": {"log_uniform": [0.1, 0.8]},
}


@pytest.mark.parametrize("sampler", ANY_SPACE, ids=named)
def test_every_proposal_is_a_point_of_the_space(sampler: dict[str, Any], recipe: Recipe) -> None:
    rules = ["attack.steps <= 6 or augment.enabled", "distill.me.theta >= 0.2"]
    space = synthetic_space(recipe, sampler, parameters=RICH, constraints=rules)
    records: list[TrialRecord] = []
    for number in range(9 if "gp" in sampler else 20):
        proposal = propose(space, recipe, records)
        assert proposal is not None
        values = proposal.values
        assert set(values) == {name for name in space.parameters if space.is_active(name, values)}
        assert all(contains(space.parameters[name], value) for name, value in values.items())
        assert proposal.recipe.attack.steps <= 6 or proposal.recipe.augment.enabled
        assert proposal.recipe.distill.me.theta >= 0.2
        outcome: Outcome = ("finished", 0.1 * values["attack.steps"] / 12, {})
        records.append(record_of(number, dict(values), outcome, proposal.recipe.fingerprint()))
    seen = [record.values for record in records]
    assert {tuple(one["input.scale"]) for one in seen} == {(96, 96), (128, 128)}
    assert {one["distill.host"] for one in seen} == {"fgd", "mgd", "none"}


@pytest.mark.parametrize("sampler", [*ANY_SPACE, *FINITE], ids=named)
def test_nothing_is_tried_twice_and_nothing_is_left_out(sampler: dict[str, Any], recipe: Recipe) -> None:
    parameters = {"augment.noise.sigma": {"uniform": [0.1, 0.3], "step": 0.1}, "attack.steps": {"choice": [1, 2]}}
    adversarial = recipe.with_values({"adversarial.enabled": True})  # else the attack would not act
    space = synthetic_space(adversarial, sampler, parameters=parameters)
    found = swept(space, adversarial, lambda values: ("finished", 0.3, {}), 20)
    assert len(found) == len({record.fingerprint for record in found}) == 6


@pytest.mark.parametrize("sampler", [*ANY_SPACE, *FINITE], ids=named)
def test_what_another_sweep_tried_is_not_tried_again(sampler: dict[str, Any], recipe: Recipe) -> None:
    parameters = {"augment.noise.sigma": {"uniform": [0.1, 0.4], "step": 0.1}}
    space = synthetic_space(recipe, sampler, parameters=parameters)
    objective: Objective = lambda values: ("finished", 0.3, {})  # noqa: E731
    earlier = swept(synthetic_space(recipe, {"random": {}}, parameters=parameters), recipe, objective, 3)
    proposal = propose(space, recipe, [], earlier=earlier)
    assert proposal is not None
    assert proposal.recipe.fingerprint() not in {one.fingerprint for one in earlier}
    (own,) = [record_of(0, dict(proposal.values), objective({}), proposal.recipe.fingerprint())]
    assert propose(space, recipe, [own], earlier=earlier) is None


@pytest.mark.parametrize("kind", [kind for kind in SAMPLERS if kind != "grid"])
def test_draws_without_a_model_come_from_the_prior(kind: str, recipe: Recipe) -> None:
    startup = {"cmaes": {"startup_trials": 50}}  # it has no other draws without its model
    expecting = {AXES[0]: {**CUBE[AXES[0]], "prior": {"spread": 0.1, "around": 0.3}}, AXES[1]: CUBE[AXES[1]]}
    space = synthetic_space(recipe, {kind: startup.get(kind, {})}, parameters=expecting)
    drawn = [next(drawn_values(History(space, recipe, (), number))) for number in range(64)]
    mean = place(space.parameters[AXES[0]], 0.3)
    exact = truncnorm(-mean / 0.1, (1 - mean) / 0.1, mean, 0.1)
    assert kstest([(one[AXES[0]] - 0.01) / 0.99 for one in drawn], exact.cdf).pvalue > 0.01
    assert kstest([(one[AXES[1]] - 0.01) / 0.99 for one in drawn], "uniform").pvalue > 0.01, "it has none"
