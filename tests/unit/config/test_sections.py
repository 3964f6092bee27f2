"""Sections made by a program: what a file may say, Python may say too, and nothing beyond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from ikd.config import Domain, Recipe, Runner, SearchSpace, Section, load_recipe, recipe_names
from ikd.config.document import read_yaml
from ikd.config.section import validate
from ikd.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", recipe_names())
def test_python_takes_a_recipe_as_its_file_has_it(name: str) -> None:
    recipe = load_recipe(name)
    assert Recipe.model_validate(recipe.as_dict()) == recipe


@pytest.mark.parametrize("cls", [SearchSpace, Runner])
def test_python_takes_spaces_and_runners_as_their_files_have_them(cls: type[Section]) -> None:
    folder = "search_spaces" if cls is SearchSpace else "runners"
    documents = [read_yaml(path) for path in sorted((ROOT / folder).glob("*.yaml"))]
    whole = [one for one in documents if "include" not in one.data]
    assert whole
    for document in whole:
        assert cls.model_validate(document.data) == validate(cls, document)


def test_a_list_stands_for_a_tuple_at_every_depth() -> None:
    space = SearchSpace.model_validate(
        {
            "recipe": "drawn_r18",
            "costs": ["gflops"],
            "anchors": ["paper"],
            "parameters": {
                "distill.fgd.alpha": {"log_uniform": [1e-4, 1e-2], "also": ["distill.fgd.beta"]},
                "teachers.sequence": {"sequence": {"of": ["a", "b"], "length": [1, 2]}},
                "distill.host": {"choice": ["fgd", "mgd"], "prior": {"around": "fgd"}},
            },
        }
    )
    assert space.costs == ("gflops",)
    assert space.parameters["distill.fgd.alpha"].log_uniform == (1e-4, 1e-2)
    assert space.parameters["teachers.sequence"].sequence is not None
    assert space.parameters["teachers.sequence"].sequence.length == (1, 2)
    assert space.parameters["distill.host"].choice == ("fgd", "mgd")


def test_a_list_stays_a_list_where_any_value_goes() -> None:
    domain = Domain.model_validate({"choice": [[1, 2], [3]], "prior": {"around": [1, 2]}, "when": {"a": [1]}})
    assert domain.choice == ([1, 2], [3])
    assert domain.prior is not None
    assert domain.prior.around == [1, 2]
    assert domain.when == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"uniform": [0, "1"]}, "valid number"),
        ({"uniform": [0, True]}, "valid number"),
        ({"int": [0, 1.5]}, "valid integer"),
        ({"uniform": [0, 1, 2]}, "at most 2 items"),
        ({"uniform": {0.0, 1.0}}, "valid tuple"),
        ({"uniform": "01"}, "valid tuple"),
        ({"uniform": (x for x in (0, 1))}, "valid tuple"),
        ({"choice": [1, 2], "also": {"seed": 1}}, "valid tuple"),
        ({"choice": {1, 2}}, "must be a list of values, or a mapping of short names to values"),
    ],
)
def test_nothing_else_stands_for_a_tuple_or_a_number(content: dict[str, Any], says: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=says):
        Domain.model_validate(content)


def test_a_choice_of_names_keeps_names_and_values_apart() -> None:
    domain = Domain.model_validate({"choice": {"small": [1, 2], "large": [3]}})
    assert domain == Domain(choice=([1, 2], [3]), aliases=("small", "large"))
    assert domain.model_dump(mode="json", exclude_none=True) == {
        "choice": [[1, 2], [3]],
        "aliases": ["small", "large"],
        "when": {},
        "also": [],
    }
    assert Domain.model_validate_json(domain.model_dump_json(by_alias=True)) == domain


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({}, "choice must list at least one value"),
        ({"a": 1, "b": 1}, "choice must not repeat a value"),
        ({"a": "b", "b": "c"}, "the name b must not be the value of another choice"),
    ],
)
def test_a_choice_of_names_is_checked(choice: dict[str, Any], says: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=says):
        Domain.model_validate({"choice": choice})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"schedule.amp": "fp16"}, "schedule.amp: should be a valid boolean, or should be 'float16' or 'bfloat16'"),
        ({"student.config": 3}, "student.config: should be a valid string, or should be an object"),
        ({"distill.levels": ["a", 1]}, "distill.levels[0]: should be a valid integer"),
        ({"schedule.clip": "x"}, "schedule.clip: should be a valid number"),
    ],
)
def test_a_value_of_several_kinds_has_one_fault(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("small_r18", values)
    (problem,) = caught.value.problems
    assert f"{problem.field}: {problem.rule}" == told
