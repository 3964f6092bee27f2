"""What the samplers are for: better than chance on functions whose answers are known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ikd.config import Recipe
from ikd.sweep.records.pareto import fronts
from tests.unit.sweep.synthetic import AXES, SQUARE, Outcome, bowl, played, synthetic_recipe, synthetic_space

RANDOM: dict[str, Any] = {"random": {}}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return synthetic_recipe()


def regret(recipe: Recipe, sampler: dict[str, Any], trials: int, seeds: Sequence[int]) -> float:
    spaces = [synthetic_space(recipe, sampler, parameters=SQUARE, seed=seed) for seed in seeds]
    bests = [max(one.metric or 0.0 for one in played(space, recipe, bowl, trials)) for space in spaces]
    return statistics.median(0.5 - best for best in bests)


def test_models_beat_random_draws_on_a_bowl(recipe: Recipe) -> None:
    """Medians over seeds; at 30 trials random draws leave some 4e-3, TPE and CMA-ES less than half of it."""
    chance = regret(recipe, RANDOM, 30, range(3))
    assert regret(recipe, {"tpe": {}}, 30, range(3)) < chance / 2
    assert regret(recipe, {"cmaes": {"population": 5}}, 30, range(3)) < chance / 2
    assert regret(recipe, {"effects": {}}, 30, range(3)) < chance / 2


def test_a_gaussian_process_finds_the_bottom_of_a_bowl(recipe: Recipe) -> None:
    assert regret(recipe, {"gp": {"startup_trials": 6}}, 11, [0]) < regret(recipe, RANDOM, 11, range(5)) / 10


def zdt1(values: dict[str, Any]) -> Outcome:
    """Two objectives that are both best on an edge of the cube (ZDT1 of Zitzler et al. 2000 in three variables)."""
    a, b, c = ((values[name] - 0.01) / 0.99 for name in AXES)
    g = 1 + 9 * (b + c) / 2
    return "finished", 1 - a, {"gflops": g * (1 - math.sqrt(a / g))}


def hypervolume(points: npt.NDArray[np.float64], corner: tuple[float, float]) -> float:
    """Area between a front of two losses and a corner."""
    front = sorted(map(tuple, points[fronts(points)[0]]))
    area, ceiling = 0.0, corner[1]
    for first, second in front:
        area += max(0.0, corner[0] - first) * max(0.0, ceiling - second)
        ceiling = min(ceiling, second)
    return area


@pytest.mark.parametrize(
    ("sampler", "trials"), [({"nsga2": {"population": 10}}, 60), ({"tpe": {}}, 40)], ids=["nsga2", "tpe"]
)
def test_fronts_of_two_objectives_beat_random_draws(sampler: dict[str, Any], trials: int, recipe: Recipe) -> None:
    def volume(one: dict[str, Any]) -> float:
        spaces = [synthetic_space(recipe, one, costs=["gflops"], seed=seed) for seed in range(3)]
        found = [[(-(r.metric or 0.0), *r.costs(s.costs)) for r in played(s, recipe, zdt1, trials)] for s in spaces]
        return statistics.median(hypervolume(np.array(points), (0.0, 10.0)) for points in found)

    assert volume(sampler) > volume(RANDOM) + 0.2


def cliff(values: dict[str, Any]) -> Outcome:
    """The upper half of the first axis diverges; the best point lies beside the cliff."""
    if values[AXES[0]] > 0.505:
        return "diverged", math.nan, {}
    far = (values[AXES[0]] - 0.4) ** 2 + (values[AXES[1]] - 0.6) ** 2
    return "finished", 1 - far, {"gflops": 1.0}


def over_the_cliff(recipe: Recipe, sampler: dict[str, Any], seed: int, **changes: Any) -> tuple[int, float]:
    space = synthetic_space(recipe, sampler, parameters=SQUARE, seed=seed, **changes)
    done = played(space, recipe, cliff, 40)
    return sum(one.state == "diverged" for one in done), max(one.metric for one in done if one.metric is not None)


def test_tpe_leaves_the_half_that_diverges(recipe: Recipe) -> None:
    """Ten of the forty are start-up draws, five of which diverge by chance; random draws would make it 20.

    Measured over 20 seeds: 13.2 of 40 (11 to 16), median of the best 0.9994; with divergence told as a failure, which
    the sampler does not see, 29.8 and 0.9927.
    """
    found = [over_the_cliff(recipe, {"tpe": {}}, seed) for seed in range(3)]
    assert statistics.mean(bad for bad, _ in found) <= 14
    assert max(bad for bad, _ in found) <= 17
    assert statistics.median(best for _, best in found) > 0.998


def test_the_effects_model_leaves_the_half_that_diverges(recipe: Recipe) -> None:
    """Measured over 4 seeds: 10 of 40 (9 to 12) in turn with TPE, 6 (5 to 8) alone."""
    found = [over_the_cliff(recipe, {"effects": {}}, seed) for seed in range(3)]
    assert statistics.mean(bad for bad, _ in found) <= 13
    assert statistics.median(best for _, best in found) > 0.998


@pytest.mark.parametrize(
    "sampler", [{"cmaes": {"population": 6}}, {"nsga2": {"population": 8}}], ids=["cmaes", "nsga2"]
)
def test_evolution_leaves_the_half_that_diverges(sampler: dict[str, Any], recipe: Recipe) -> None:
    assert statistics.mean(over_the_cliff(recipe, sampler, seed)[0] for seed in range(3)) <= 16
