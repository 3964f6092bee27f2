"""Generations of CMA-ES and NSGA-II, taken from the records: told to the library by hand, and what is inherited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from cmaes import CMA

from ikd.config import Recipe
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.registry import drawn_values
from tests.unit.sweep.synthetic import AXES, CUBE, Outcome, record_of, synthetic_recipe, synthetic_space

RANDOM: dict[str, Any] = {"random": {}}
SQUARE = {name: CUBE[name] for name in AXES[:2]}
HOSTS: dict[str, Any] = {
    "distill.host": {"choice": ["fgd", "mgd"]},
    "distill.mgd.alpha": {"log_uniform": [1e-6, 64e-6], "when": {"distill.host": "mgd"}},
    "distill.fgd.temperature": {"uniform": [0.1, 0.9], "when": {"distill.host": "fgd"}},
}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return synthetic_recipe()


OPTIONS = {"population": 4, "sigma": 0.2}
START = [(0.08 - 0.01) / 0.99, (0.5 - 0.01) / 0.99]
"""The recipe's own values of the first two axes in the unit cube."""


class TestCmaes:
    def first(self, recipe: Recipe, records: Sequence[TrialRecord], **changes: Any) -> dict[str, Any]:
        space = synthetic_space(recipe, {"cmaes": {**OPTIONS, **changes}}, parameters=SQUARE)
        return next(drawn_values(History(space, recipe, tuple(records), 50)))

    def records(self, count: int) -> list[TrialRecord]:
        units = np.random.default_rng(0).random((count, 2))
        outcomes: list[Outcome] = [("finished", 0.1 + 0.01 * n, {}) for n in range(count)]
        values = [dict(zip(AXES, 0.01 + 0.99 * unit, strict=False)) for unit in units]
        return [record_of(n, {k: float(v) for k, v in values[n].items()}, outcomes[n]) for n in range(count)]

    def expected(self, recipe: Recipe, told: Sequence[Sequence[TrialRecord]], start: list[float]) -> list[float]:
        """Tell generations, each best first, to the library, and draw what the sampler should."""
        space = synthetic_space(recipe, {"cmaes": OPTIONS}, parameters=SQUARE)
        cma = CMA(np.array(start), 0.2, np.array([[0.0, 1.0]] * 2), population_size=4)
        for generation in told:
            points = [[(v - 0.01) / 0.99 for v in one.values.values()] for one in generation]
            cma.tell([(np.array(point), float(rank)) for rank, point in enumerate(points)])
        cma.reseed_rng(History(space, recipe, (), 50).seed(0))
        return [0.01 + 0.99 * float(unit) for unit in cma.ask()]

    def test_generations_are_told_in_their_order_best_first(self, recipe: Recipe) -> None:
        records = self.records(10)  # the later the better; 8 and 9 begin the third generation
        told = [list(reversed(records[:4])), list(reversed(records[4:8]))]
        expected = self.expected(recipe, told, START)
        assert list(self.first(recipe, records).values()) == pytest.approx(expected)

    def test_stopped_and_diverged_trials_are_behind(self, recipe: Recipe) -> None:
        records = self.records(4)
        records[3] = replace(records[3], state="diverged")
        records[2] = replace(records[2], state="stopped", reports=(replace(records[2].reports[0], epoch=2),))
        expected = self.expected(recipe, [[records[1], records[0], records[2], records[3]]], START)
        assert list(self.first(recipe, records).values()) == pytest.approx(expected)

    def test_an_open_generation_is_not_told(self, recipe: Recipe) -> None:
        records = self.records(8)
        records[6] = replace(records[6], state="running", reports=(), metric=None)
        expected = self.expected(recipe, [list(reversed(records[:4]))], START)
        assert list(self.first(recipe, records).values()) == pytest.approx(expected)

    def test_lost_trials_and_anchors_are_in_no_generation(self, recipe: Recipe) -> None:
        records = self.records(5)
        records[2] = replace(records[2], state="failed")
        rest = [one for one in reversed(records) if one.number != 2]
        expected = self.expected(recipe, [rest], START)
        assert list(self.first(recipe, records).values()) == pytest.approx(expected)
        anchored = [replace(records[2], state="finished", anchors=("paper",))]
        start = [(value - 0.01) / 0.99 for value in anchored[0].values.values()]
        mine = [*records[:2], *anchored, *records[3:]]
        assert list(self.first(recipe, mine).values()) == pytest.approx(self.expected(recipe, [rest], start))

    def test_start_up_trials_are_random_and_the_best_is_the_start(self, recipe: Recipe) -> None:
        records = self.records(7)
        space = synthetic_space(recipe, RANDOM, parameters=SQUARE)
        chance = [next(islice(drawn_values(History(space, recipe, (), 50)), n, None)) for n in (8,)]
        assert self.first(recipe, records[:2], startup_trials=3) == chance[0]
        start = [(value - 0.01) / 0.99 for value in records[2].values.values()]
        expected = self.expected(recipe, [list(reversed(records[3:]))], start)
        assert list(self.first(recipe, records, startup_trials=3).values()) == pytest.approx(expected)

    def test_options_change_the_outcome(self, recipe: Recipe) -> None:
        records = self.records(12)
        base = self.first(recipe, records)
        for change in ({"population": 6}, {"sigma": 0.3}, {"startup_trials": 1}):
            assert self.first(recipe, records, **change) != base


class TestNsga2:
    def drawn(self, recipe: Recipe, records: Sequence[TrialRecord], **options: Any) -> list[dict[str, Any]]:
        settings = {"population": 4, "mutation_probability": 0.0, "crossover_probability": 0.0, **options}
        space = synthetic_space(recipe, {"nsga2": settings}, costs=["gflops"])
        return [next(drawn_values(History(space, recipe, tuple(records), 100 + n))) for n in range(16)]

    def records(self, count: int, recipe: Recipe) -> list[TrialRecord]:
        """The later the better in both objectives."""
        units = np.random.default_rng(0).random((count, 3))
        values = [dict(zip(AXES, map(float, 0.01 + 0.99 * unit), strict=True)) for unit in units]
        return [record_of(n, values[n], ("finished", 0.1 + 0.01 * n, {"gflops": 9.0 - n / 9})) for n in range(count)]

    def parents(self, drawn: list[dict[str, Any]], records: Sequence[TrialRecord]) -> set[int]:
        return {next(one.number for one in records if one.values == values) for values in drawn}

    def test_parents_are_the_best_of_the_last_generation_and_its_parents(self, recipe: Recipe) -> None:
        records = self.records(10, recipe)
        found = self.parents(self.drawn(recipe, records), records)
        assert found <= {4, 5, 6, 7}, "8 and 9 begin the next generation; 0 to 3 are beaten"
        assert 7 in found

    def test_stopped_and_diverged_trials_are_behind(self, recipe: Recipe) -> None:
        records = self.records(8, recipe)
        records[7] = replace(records[7], state="diverged", metric=None)
        records[6] = replace(records[6], state="stopped")
        assert self.parents(self.drawn(recipe, records), records) <= {2, 3, 4, 5}

    def test_an_open_generation_has_no_children(self, recipe: Recipe) -> None:
        records = self.records(8, recipe)
        records[5] = replace(records[5], state="running", metric=None, reports=())
        assert self.parents(self.drawn(recipe, records), records) <= {0, 1, 2, 3}

    def test_the_first_generation_is_random(self, recipe: Recipe) -> None:
        space = synthetic_space(recipe, RANDOM, costs=["gflops"])
        chance = [next(drawn_values(History(space, recipe, (), 100 + n))) for n in range(16)]
        assert self.drawn(recipe, self.records(3, recipe)) == chance

    def test_a_child_has_each_value_of_one_of_two_parents(self, recipe: Recipe) -> None:
        records = self.records(4, recipe)
        children = self.drawn(recipe, records, crossover_probability=1.0)
        assert any(child not in [one.values for one in records] for child in children)
        for child in children:
            for name, value in child.items():
                assert value in [one.values[name] for one in records]

    def test_mutation_draws_anew(self, recipe: Recipe) -> None:
        records = self.records(4, recipe)
        for child in self.drawn(recipe, records, mutation_probability=1.0):
            assert not any(child[name] == one.values[name] for name in AXES for one in records)
        some = self.drawn(recipe, records, mutation_probability=None)
        kept = sum(child[name] in [one.values[name] for one in records] for child in some for name in AXES)
        assert 20 <= kept <= 44, "a third of 48 mutates: 32 are kept, 3.3 the standard deviation"

    def test_what_exists_under_a_condition_is_inherited(self, recipe: Recipe) -> None:
        """Half of the population has one host and half the other; each child keeps its own host's value."""
        settings = {"population": 4, "mutation_probability": 0.0, "crossover_probability": 1.0}
        space = synthetic_space(recipe, {"nsga2": settings}, parameters=HOSTS)
        mgd = [{"distill.host": "mgd", "distill.mgd.alpha": 4e-6}] * 2
        fgd = [{"distill.host": "fgd", "distill.fgd.temperature": 0.3}] * 2
        records = tuple(record_of(n, dict(one), ("finished", 0.3, {})) for n, one in enumerate([*mgd, *fgd]))
        children = [next(drawn_values(History(space, recipe, records, 10 + n))) for n in range(12)]
        assert {child["distill.host"] for child in children} == {"mgd", "fgd"}
        for child in children:
            assert child in (*mgd, *fgd)
