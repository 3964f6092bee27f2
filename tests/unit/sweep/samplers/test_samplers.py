"""What single samplers are for: grids and conditions kept, even cover, models that learn."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import qmc

from ikd.config import Recipe
from ikd.sweep.proposals.search import propose
from ikd.sweep.records.domains import contains, place
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.registry import drawn_values
from ikd.sweep.study.distributions import quiet_optuna
from tests.unit.sweep.synthetic import (
    AXES,
    SQUARE,
    bowl,
    distance,
    record_of,
    swept,
    synthetic_recipe,
    synthetic_space,
)

TPE: dict[str, Any] = {"tpe": {"startup_trials": 6}}
RANDOM: dict[str, Any] = {"random": {}}
CMAES: dict[str, Any] = {"cmaes": {"population": 5}}
GP: dict[str, Any] = {"gp": {"startup_trials": 5}}
SOBOL: dict[str, Any] = {"qmc": {}}
HALTON: dict[str, Any] = {"qmc": {"sequence": "halton"}}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return synthetic_recipe()


def test_cmaes_keeps_to_grids_and_constraints(recipe: Recipe) -> None:
    parameters = {
        "augment.noise.sigma": {"uniform": [0.1, 0.9], "step": 0.1},
        "distill.fgd.temperature": {"log_uniform": [0.125, 1.0], "factor": 2.0},
        "attack.steps": {"int": [1, 9]},
        "augment.crop.min_ratio": {"uniform": [0.1, 1.0]},
        "augment.enabled": {"choice": [True]},  # fixed on the command line
    }
    space = synthetic_space(recipe, CMAES, parameters=parameters, constraints=["augment.noise.sigma <= 0.5"])
    found = swept(space, recipe, lambda values: ("finished", 0.3, {}), 25)
    for record in found:
        assert set(record.values) == set(parameters)
        assert all(contains(space.parameters[name], value) for name, value in record.values.items())
        assert record.values["augment.noise.sigma"] <= 0.5


@pytest.mark.parametrize("sampler", [SOBOL, HALTON], ids=["sobol", "halton"])
def test_a_sequence_covers_the_space_more_evenly_than_chance(sampler: dict[str, Any], recipe: Recipe) -> None:
    def discrepancy(one: dict[str, Any], seed: int) -> float:
        space = synthetic_space(recipe, one, seed=seed)
        points = [record.values for record in swept(space, recipe, bowl, 32)]
        return float(qmc.discrepancy([[place(space.parameters[name], p[name]) for name in AXES] for p in points]))

    assert max(discrepancy(sampler, seed) for seed in range(3)) < 0.6 * min(discrepancy(RANDOM, s) for s in range(3))


def test_the_number_of_the_trial_is_the_number_of_the_point(recipe: Recipe) -> None:
    space = synthetic_space(recipe, SOBOL, seed=7)
    points = qmc.Sobol(3, scramble=True, rng=7).random(8)
    for number in (0, 1, 5, 7):
        proposal = propose(space, recipe, [], number=number)
        assert proposal is not None
        assert list(proposal.values.values()) == pytest.approx([0.01 + 0.99 * unit for unit in points[number]])


def test_a_parameter_under_a_condition_keeps_its_own_coordinate(recipe: Recipe) -> None:
    """Two points of three have it, and those are as even as the others."""
    parameters: dict[str, Any] = {"distill.host": {"choice": ["fgd", "mgd", "none"]}}
    parameters["distill.fgd.temperature"] = {"uniform": [0.1, 0.9], "when": {"distill.host": ["fgd", "none"]}}
    space = synthetic_space(recipe, SOBOL, parameters=parameters)
    found = [next(drawn_values(History(space, recipe, (), number))) for number in range(64)]
    assert abs([one["distill.host"] for one in found].count("mgd") - 64 / 3) < 2
    temperatures = [one["distill.fgd.temperature"] for one in found if "distill.fgd.temperature" in one]
    assert abs(sum(one < 0.5 for one in temperatures) - len(temperatures) / 2) <= 2


@pytest.mark.parametrize("costs", [[], ["gflops"]])
@pytest.mark.parametrize("sampler", [TPE, GP], ids=["tpe", "gp"])
def test_a_model_leaves_what_is_stopped_or_diverges(sampler: dict[str, Any], costs: list[str], recipe: Recipe) -> None:
    """The upper half was stopped, at values that look better than what finished below, or has diverged."""
    space = synthetic_space(recipe, sampler, parameters=SQUARE, costs=costs)
    units = qmc.Sobol(2, scramble=True, rng=1).random(16)
    history = []
    for number, (x, y) in enumerate(units):
        values = {AXES[0]: 0.01 + 0.99 * x, AXES[1]: 0.01 + 0.99 * y}
        state = "finished" if x < 0.5 else "stopped" if number % 2 else "diverged"
        value = 0.3 - 0.1 * abs(x - 0.25) if x < 0.5 else 0.4 if number % 2 else math.nan
        history.append(record_of(number, values, (state, value, {"gflops": 1.0 + y})))  # type: ignore[arg-type]
    proposals = [propose(space, recipe, history, number=16 + n) for n in range(3 if sampler is GP else 12)]
    above = sum(one.values[AXES[0]] > 0.505 for one in proposals if one is not None)
    assert above <= len(proposals) / 4


class TestShortfall:
    """The one order of what did not finish: after all that finished; by rung, then value; diverged last."""

    @staticmethod
    def trial(number: int, state: Any, epochs: int, value: float) -> TrialRecord:
        one = record_of(number, {AXES[0]: 0.5}, (state, value, {"gflops": 1.0}))
        return replace(one, reports=(replace(one.reports[0], epoch=epochs),))

    def history(self, recipe: Recipe, mode: str) -> History:
        space = synthetic_space(recipe, TPE, objective={"mode": mode}, costs=["gflops"])
        ends: list[tuple[Any, int, float]] = [
            ("finished", 12, 0.1), ("stopped", 6, 0.3), ("stopped", 6, 0.2), ("stopped", 2, 0.9),
            ("diverged", 11, math.nan),
        ]  # fmt: skip
        return History(space, recipe, tuple(self.trial(n, *end) for n, end in enumerate(ends)), 5)

    def test_order(self, recipe: Recipe) -> None:
        history = self.history(recipe, "max")
        assert [history.shortfall(one) for one in history.records] == pytest.approx([0, 7.7, 7.8, 11.1, 15])
        smaller = self.history(recipe, "min")
        assert [smaller.shortfall(one) for one in smaller.records] == pytest.approx([0, 7.3, 7.2, 11.9, 15])

    def test_a_finished_trial_without_a_cost_counts_as_stopped(self, recipe: Recipe) -> None:
        history = self.history(recipe, "max")
        unmeasured = record_of(5, {AXES[0]: 0.5}, ("finished", 0.9, {}))
        assert history.losses(unmeasured) is None
        assert history.losses(history.records[0]) == (-0.1, 1.0)
        assert history.shortfall(unmeasured) > 0


class TestEarlier:
    def test_a_model_starts_from_another_sweep(self, recipe: Recipe) -> None:
        """Twelve trials of another sweep show where the bowl is: the first own proposal comes from the model."""
        space = synthetic_space(recipe, TPE, parameters=SQUARE)
        earlier = swept(synthetic_space(recipe, RANDOM, parameters=SQUARE), recipe, bowl, 24)
        taught = [propose(space, recipe, [], number=n, earlier=earlier) for n in range(10)]
        alone = [propose(space, recipe, [], number=n) for n in range(10)]
        near, far = ([distance(dict(one.values), 0.3) for one in some if one is not None] for some in (taught, alone))
        assert statistics.mean(near) < 0.7 * statistics.mean(far)

    def test_evolution_counts_earlier_trials(self, recipe: Recipe) -> None:
        earlier = swept(synthetic_space(recipe, RANDOM), recipe, bowl, 5)
        best = max(earlier, key=lambda one: one.metric or 0.0)
        settings = {"population": 5, "mutation_probability": 0.0, "crossover_probability": 0.0}
        space = synthetic_space(recipe, {"nsga2": settings})
        child = next(drawn_values(History(space, recipe, (), 0, tuple(earlier))))
        assert child in [one.values for one in earlier]
        space = synthetic_space(recipe, {"cmaes": {"sigma": 1e-9}})
        start = next(drawn_values(History(space, recipe, (), 0, tuple(earlier))))
        assert list(start.values()) == pytest.approx([best.values[name] for name in AXES], abs=1e-6)


class TestEffects:
    """Thompson sampling on the effects model, in turn with TPE."""

    def test_odd_trials_are_those_of_tpe(self, recipe: Recipe) -> None:
        done = swept(synthetic_space(recipe, {"random": {}}), recipe, bowl, 7)

        def first(sampler: dict[str, Any], number: int) -> dict[str, Any]:
            space = synthetic_space(recipe, sampler)
            with quiet_optuna():
                return next(drawn_values(History(space, recipe, tuple(done), number)))

        in_turn, alone, tpe = (
            {"effects": {"startup_trials": 3}},
            {"effects": {"with_tpe": False, "startup_trials": 3}},
            {"tpe": {"startup_trials": 3}},
        )
        assert first(in_turn, 7) == first(tpe, 7) != first(alone, 7)
        assert first(in_turn, 8) == first(alone, 8) != first(tpe, 8)
        assert first({"effects": {"startup_trials": 9}}, 8) == first({"random": {}}, 8)
