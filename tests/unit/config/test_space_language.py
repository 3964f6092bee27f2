"""The language of search spaces: domains, short names, grids, priors, conditions."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikd.config import Domain, SearchSpace, load_recipe
from ikd.config.space.conditions import holds, parents
from tests.unit.config.written_spaces import load, refusal


def domain(**written: Any) -> Domain:
    return Domain.model_validate_json(json.dumps(written))


class TestDomains:
    @pytest.mark.parametrize(
        ("written", "values"),
        [
            ({"choice": ["b", "a"]}, ["b", "a"]),
            ({"choice": {"one": [1], "two": [1, 2]}}, [[1], [1, 2]]),
            ({"int": [2, 9], "step": 3}, [2, 5, 8]),
            ({"uniform": [0.1, 0.5], "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
            ({"log_uniform": [1e-5, 1e-2], "factor": 10}, [1e-5, 1e-4, 1e-3, 1e-2]),
            ({"log_uniform": [0.1, 1], "factor": 3}, [0.1, 0.3, 0.9]),
            ({"log_int": [3, 6]}, [3, 4, 5, 6]),
            ({"log_int": [8, 64], "factor": 2}, [8, 16, 32, 64]),
            ({"log_int": [1, 5], "factor": 1.2}, [1, 2, 3, 4]),  # 1, 1.2, 1.44, 1.73, 2.07, 2.49, 2.99, 3.58, 4.3
        ],
    )
    def test_the_grid_is_every_value(self, written: dict[str, Any], values: list[Any]) -> None:
        grid = domain(**written).grid()
        assert grid is not None
        assert list(grid) == values
        assert domain(**written).size == len(values)

    @pytest.mark.parametrize("written", [{"uniform": [0, 1]}, {"log_uniform": [0.1, 1]}])
    def test_a_continuous_range_has_no_grid(self, written: dict[str, Any]) -> None:
        assert domain(**written).grid() is None
        assert domain(**written).size == math.inf

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(low=st.integers(1, 50), ratio=st.integers(2, 7), powers=st.integers(1, 9))
    def test_powers_end_at_the_high_end(self, low: int, ratio: int, powers: int) -> None:
        high = low * ratio**powers
        for kind in ("log_int", "log_uniform"):
            grid = domain(**{kind: [low, high], "factor": ratio}).grid()
            assert grid is not None
            assert list(grid) == [low * ratio**power for power in range(powers + 1)]

    def test_a_range_of_all_seeds_costs_nothing(self) -> None:
        grid = domain(int=[0, 2**31 - 1]).grid()
        assert grid is not None
        assert (len(grid), grid[-1]) == (2**31, 2**31 - 1)

    def test_names_stand_for_values(self) -> None:
        named = domain(choice={"coarse": [2], "all": [0, 1, 2]})
        assert named.choice == ([2], [0, 1, 2])
        assert named.aliases == ("coarse", "all")
        assert (named.alias([2]), named.alias([1])) == ("coarse", None)
        assert (named.meant("all"), named.meant([2]), named.meant("other")) == ([0, 1, 2], [2], "other")
        assert Domain.model_validate_json(json.dumps(named.model_dump(mode="json", by_alias=True))) == named

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            (
                "{log_uniform: [1, 9], factor: 1}",
                r"parameters\.student\.arguments\.base_channels\.factor: should be greater than 1, but got 1",
            ),
            ("{log_uniform: [1, 9], factor: 0.5}", r"factor: should be greater than 1"),
            ("{uniform: [1, 9], factor: 2}", r"factor goes with log_uniform or log_int, not with uniform"),
            ("{log_int: [1, 9], step: 2}", r"step goes with uniform or int, not with log_int"),
            ("{log_int: [0, 9]}", r"log_int needs a low end above 0, and has 0"),
            ("{log_int: [9, 1]}", r"log_int must be \[low, high\] with low below high, and is \[9, 1\]"),
            ("{log_int: [1.5, 9]}", r"log_int\[0\]: should be a valid integer"),
            ("{log_uniform: [1, 9], factor: 1.0000001}", r"step or factor must leave at most 100000 values"),
            ("{uniform: [0, 1], step: 1e-9}", r"step or factor must leave at most 100000 values, and leaves 1e\+09"),
            ("{int: [0, 100000000000000000000]}", r"int must lie within -2\^53 and 2\^53"),
            ("{uniform: [-1e308, 1e308]}", r"uniform must not be wider than a float can hold"),
            ("{choice: {a: 1, b: 1}}", r"choice must not repeat a value, and is \[1, 1\]"),
            ("{choice: {a: b, b: a}}", r"the name a must not be the value of another choice"),
            ("{choice: {}}", r"choice must list at least one value"),
            (f"{{choice: {list(range(1001))}}}", r"choice must list at most 1000 values, and lists 1001"),
            ("{choice: 3}", r"choice: must be a list of values, or a mapping of short names to values, but got 3"),
            ("{choice: [1, .nan]}", r"choice must list finite numbers"),
            ("{choice: [1, 2], aliases: [a]}", r"aliases must name every choice"),
            ("{int: [1, 2], aliases: [a, b]}", r"aliases must name every choice"),
            (
                "{choice: {a: 1, a: 2}}",
                r":3: parameters\.student\.arguments\.base_channels\.choice\.a: is written twice",
            ),
        ],
    )
    def test_faults(self, tmp_path: Path, written: str, message: str) -> None:
        text = refusal(tmp_path, f"  student.arguments.base_channels: {written}")
        assert re.search(message, text), text


class TestPriors:
    def test_a_prior_lies_around_the_recipes_value(self, tmp_path: Path) -> None:
        text = "  distill.fgd.alpha: {log_uniform: [1e-4, 1e-2], prior: {}}\n"
        text += "  attack.eps: {choice: {weak: 4, strong: 16}, prior: {around: strong, spread: 0.5}}\n"
        text += "  seed: {int: [0, 9], prior: {around: 7}}"
        recipe, space = load_recipe("drawn_r18"), load(tmp_path, text)
        priors = [space.parameters[name].prior for name in ("distill.fgd.alpha", "attack.eps", "seed")]
        assert [(one.around, one.spread) for one in priors if one] == [
            (recipe.distill.fgd.alpha, 0.2),
            (16, 0.5),
            (7, 0.2),
        ]
        assert space.resolved(recipe) == space

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            (
                "  attack.eps: {uniform: [4, 9], prior: {around: 3}}",
                r":3: parameters\.attack\.eps\.prior\.around: must lie within \[4\.0, 9\.0\].*but got 3",
            ),
            (
                "  attack.eps: {uniform: [1, 2], prior: {}}",
                r"must lie within \[1\.0, 2\.0\] \(where nothing is written it is the recipe's own value\), but got 8",
            ),
            (
                "  attack.eps: {choice: [2, 4], prior:\n      {around: 3}}",
                r":4: .*prior\.around: must lie among the choices \[2, 4\], but got 3",
            ),
            (
                "  attack.eps: {choice: {weak: 2}, prior: {around: week}}",
                r"must lie among the choices \[2\].*, but got 'week'",
            ),
            ("  attack.eps: {uniform: [4, 9], prior: {spread: 0}}", r"prior\.spread: should be greater than 0"),
            (
                "  attack.eps: {uniform: [4, 9], prior: {spread: 1.5}}",
                r"prior\.spread: should be less than or equal to 1",
            ),
            (
                "  attack.eps: {uniform: [4, 9], prior: {spred: 0.5}}",
                r"prior\.spred: is not a field here; did you mean 'spread'",
            ),
        ],
    )
    def test_faults(self, tmp_path: Path, written: str, message: str) -> None:
        text = refusal(tmp_path, written)
        assert re.search(message, text), text


HOST = "  distill.host: {choice: [fgd, mgd, none]}\n  augment.enabled: {choice: [true, false]}\n"
EITHER = "{any: [{distill.host: fgd}, {augment.enabled: true, not: {distill.host: none}}]}"


class TestConditions:
    @pytest.mark.parametrize(
        ("when", "truth"),
        [
            ({}, lambda a, b: True),
            ({"a": 1}, lambda a, b: a == 1),
            ({"a": [1, 2]}, lambda a, b: a in (1, 2)),
            ({"a": 1, "b": 1}, lambda a, b: a == 1 and b == 1),
            ({"any": [{"a": 1}, {"b": 1}]}, lambda a, b: a == 1 or b == 1),
            ({"all": [{"a": [1, 2]}, {"not": {"b": 2}}]}, lambda a, b: a in (1, 2) and b != 2),
            ({"not": {"any": [{"a": 1}, {"b": [1, 2]}]}}, lambda a, b: a != 1 and b not in (1, 2)),
            ({"not": {"not": {"a": 3}}}, lambda a, b: a == 3),
            ({"any": [{"a": 1, "not": {"b": 1}}, {"a": 2, "b": 2}]}, lambda a, b: (a == 1 and b != 1) or a == b == 2),
        ],
    )
    def test_a_condition_is_its_formula(self, when: dict[str, Any], truth: Any) -> None:
        for a, b in itertools.product([1, 2, 3, None], repeat=2):  # None: the parent does not exist
            values = {name: value for name, value in (("a", a), ("b", b)) if value is not None}
            assert holds(when, values) == truth(a, b), (a, b)

    def test_parents_come_once_in_order(self) -> None:
        assert parents({"any": [{"b": 1}, {"a": 1, "not": {"c": 2}}], "b": 3}) == ("b", "a", "c")

    def test_nested_conditions_in_a_space(self, tmp_path: Path) -> None:
        space = load(tmp_path, f"  seed: {{int: [0, 9], when: {EITHER}}}\n" + HOST)
        assert space.ordered() == ("distill.host", "augment.enabled", "seed")
        exist = {
            (host, on)
            for host in ("fgd", "mgd", "none")
            for on in (True, False)
            if space.is_active("seed", {"distill.host": host, "augment.enabled": on})
        }
        assert exist == {("fgd", True), ("fgd", False), ("mgd", True)}
        assert space.num_configurations() == 3 * 10 + 3
        assert space.with_parents("seed", 4) == {"distill.host": "fgd", "augment.enabled": True, "seed": 4}
        assert space.active({"distill.host": "none", "augment.enabled": True, "seed": 4}) == {
            "distill.host": "none",
            "augment.enabled": True,
        }

    def test_not_of_an_absent_parent_holds(self, tmp_path: Path) -> None:
        text = HOST + "  attack.steps: {choice: [1, 3], when: {distill.host: fgd}}\n"
        space = load(tmp_path, text + "  seed: {choice: [0, 1], when: {not: {attack.steps: 1}}}")
        # fgd: steps 1 without seed, steps 3 with two seeds; mgd and none: no steps, two seeds; each with two of augment
        assert space.num_configurations() == 2 * ((1 + 2) + 2 + 2)
        assert space.is_active("seed", {"distill.host": "mgd"})

    def test_conditions_take_the_names_of_choices(self, tmp_path: Path) -> None:
        text = "  distill.sfa.levels: {choice: {fine: [0], all: [0, 1, 2]}}\n"
        text += "  seed: {choice: [0, 1], when: {any: [{distill.sfa.levels: all}]}}"
        space = load(tmp_path, text)
        assert space.parameters["seed"].when == {"any": [{"distill.sfa.levels": [[0, 1, 2]]}]}
        assert space.is_active("seed", {"distill.sfa.levels": [0, 1, 2]})
        assert not space.is_active("seed", {"distill.sfa.levels": [0]})

    @settings(derandomize=True, deadline=None, max_examples=40)
    @given(data=st.data())
    def test_the_count_is_that_of_all_settings(self, data: st.DataObject) -> None:
        names = [f"p{index}" for index in range(data.draw(st.integers(1, 6)))]
        parameters: dict[str, Domain] = {}
        for index, name in enumerate(names):
            test = st.fixed_dictionaries({}, optional={one: st.integers(0, 2) for one in names[:index]})
            tree = st.recursive(
                test,
                lambda inner: st.fixed_dictionaries(
                    {}, optional={"any": st.lists(inner, min_size=1, max_size=2), "not": inner}
                ),
                max_leaves=4,
            )
            parameters[name] = Domain(choice=(0, 1, 2)[: data.draw(st.integers(1, 3))], when=data.draw(tree))
        space = SearchSpace(recipe="drawn_r18", parameters=parameters)
        every = list(space.settings(names))
        assert space.num_configurations() == len(every) == len({json.dumps(one) for one in every})
        assert all(space.active(one) == one for one in every)

    def test_many_independent_switches_are_counted_at_once(self) -> None:
        switch = Domain(choice=(True, False))
        parameters = {f"s{index}": switch for index in range(40)}
        parameters |= {f"c{index}": Domain(int=(1, 3), when={f"s{index}": True}) for index in range(40)}
        assert SearchSpace(recipe="drawn_r18", parameters=parameters).num_configurations() == 4**40

    @pytest.mark.parametrize(
        ("when", "message"),
        [
            (
                "{any: [{distill.hosts: fgd}]}",
                r":5: parameters\.seed\.when\.any\[0\]\.distill\.hosts: must name another parameter of this space",
            ),
            (
                "{not: {any: [{augment.enabled: 1.5}]}}",
                r"when\.not\.any\[0\]\.augment\.enabled: must be among the choices of augment\.enabled: \[True, False\], but got 1\.5",
            ),
            ("{any: {distill.host: fgd}}", r"when\.any: must be a list of conditions, at least one, but got"),
            ("{all: []}", r"when\.all: must be a list of conditions, at least one"),
            ("{any: [fgd]}", r"when\.any\[0\]: must be a condition, a mapping of parameter: value, but got 'fgd'"),
            ("{any: [{}]}", r"when\.any\[0\]: must be a condition"),
            ("{not: []}", r"when\.not: must be a condition"),
            ("{not: fgd}", r"when\.not: must be a condition"),
            ("{distill.host: []}", r"when\.distill\.host: must list at least one value"),
            (
                "{distill.host: fgd, all: [{distill.host: mgd}]}",
                r":5: parameters\.seed\.when: must be possible: no values of distill\.host fulfil it",
            ),
            ("{not: {augment.enabled: [true, false]}}", r"must be possible: no values of augment\.enabled"),
            (
                "{any: [{not: {seed: 1}}, {distill.host: fgd}]}",
                r"when\.any\[0\]\.not\.seed: must not lead back to this parameter",
            ),
            (
                "{any: [\n    {distill.host: fgd},\n    {distill.host: fgdd}]}",
                r":7: parameters\.seed\.when\.any\[1\]\.distill\.host: must be among",
            ),
            ("3", r"parameters\.seed\.when: should be an object, but got 3"),
        ],
    )
    def test_faults(self, tmp_path: Path, when: str, message: str) -> None:
        text = refusal(tmp_path, f"{HOST}  seed: {{choice: [0, 1], when: {when}}}")
        assert re.search(message, text), text

    def test_a_cycle_through_groups_is_refused(self, tmp_path: Path) -> None:
        text = "  seed: {choice: [0, 1], when: {any: [{attack.steps: 1}]}}\n"
        text += "  attack.steps: {choice: [1, 2], when: {not: {seed: 1}}}"
        assert "must not lead back to this parameter" in refusal(tmp_path, text)

    def test_a_condition_on_a_parent_that_excludes_it_is_impossible(self, tmp_path: Path) -> None:
        text = HOST + "  attack.steps: {choice: [1, 2], when: {distill.host: fgd}}\n"
        found = refusal(tmp_path, text + "  seed: {choice: [0, 1], when: {attack.steps: 1, distill.host: mgd}}")
        assert "parameters.seed.when: must be possible" in found

    def test_a_condition_over_too_many_values_is_refused(self, tmp_path: Path) -> None:
        values = ", ".join(map(str, range(1, 151)))
        text = f"  attack.steps: {{choice: [{values}]}}\n  schedule.batch_size: {{choice: [{values}]}}\n"
        found = refusal(tmp_path, text + "  seed: {choice: [0, 1], when: {attack.steps: 1, schedule.batch_size: 1}}")
        assert "must depend on at most 20000 combinations of values" in found
