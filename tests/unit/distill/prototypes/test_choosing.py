"""Every way to choose prototypes chooses otherwise, each by what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from ikd.config import Distill, Recipe
from ikd.distill.prototypes.choosing import Choice, Method, choose, hyperparameters
from tests.unit.distill.prototypes.test_selection import drawn, instances

METHODS: tuple[Method, ...] = get_args(Method)


PUBLISHED = hyperparameters(Distill().prototypes)


def choice_of(method: Method = "greedy", **options: Any) -> Choice:
    return replace(PUBLISHED, method=method, **options)


def clusters() -> tuple[Tensor, Tensor]:
    """Return three groups of 10, 8 and 6 instances around axes in the teacher's space, in the student's others."""
    generator = torch.Generator().manual_seed(0)
    groups = [0] * 10 + [1] * 8 + [2] * 6
    noise = 0.05 * torch.randn(24, 4, generator=generator)
    return torch.eye(4)[groups] + noise, torch.eye(4)[groups[::-1]] + noise


def test_greedy_is_the_reference() -> None:
    assert choose(*instances(), choice_of(count=4)).tolist() == [8, 1, 2, 9]


@pytest.mark.parametrize("method", ["kmeans", "dbscan"])
def test_clusters_have_one_prototype_each(method: Method) -> None:
    teacher, student = clusters()
    found = choose(teacher, student, choice_of(method, count=3, bandwidth=0.2))
    assert sorted(teacher[found].argmax(dim=1).tolist()) == [0, 1, 2]
    other = choose(teacher, student, choice_of(method, count=3, bandwidth=0.2, space="student"))
    assert sorted(student[other].argmax(dim=1).tolist()) == [0, 1, 2]
    assert set(found.tolist()) != set(other.tolist())


def test_dbscan_takes_the_largest_clusters_and_the_densest_instance_where_all_is_noise() -> None:
    teacher, student = clusters()
    found = choose(teacher, student, choice_of("dbscan", count=2, bandwidth=0.2))
    assert teacher[found].argmax(dim=1).tolist() == [0, 1]
    assert len(choose(torch.eye(4), torch.eye(4), choice_of("dbscan"))) == 1


def test_ambiguous_ones_are_where_the_spaces_disagree() -> None:
    teacher, student = torch.eye(4)[[0] * 8].clone(), torch.eye(4)[[0] * 8].clone()
    student[5] = torch.eye(4)[2]
    assert choose(teacher, student, choice_of("ambiguous", count=1)).tolist() == [5]


@pytest.mark.parametrize("method", METHODS)
def test_a_choice_is_the_same_again_and_by_its_seed(method: Method) -> None:
    teacher, student = drawn(1, 60)
    choice = choice_of(method, count=5, bandwidth=0.3)
    found = choose(teacher, student, choice)
    assert choose(teacher, student, choice).tolist() == found.tolist()
    if method == "random":
        assert choose(teacher, student, replace(choice, seed=1)).tolist() != found.tolist()


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_a_class_with_few_instances_has_as_few_prototypes(method: Method, count: int) -> None:
    teacher, student = drawn(1, count) if count else (torch.zeros(0, 6), torch.zeros(0, 5))
    found = choose(teacher, student, choice_of(method))
    assert min(count, 1) <= len(found) <= count
    assert len(set(found.tolist())) == len(found)


@pytest.mark.parametrize("method", METHODS)
def test_equal_instances_are_no_fault(method: Method) -> None:
    found = choose(torch.ones(7, 3), torch.ones(7, 3), choice_of(method, count=4))
    assert 1 <= len(set(found.tolist())) == len(found) <= 4


def test_a_recipe_says_the_choice(tiny_recipe: Any) -> None:
    values: dict[str, Any] = {
        "method": "kmeans",
        "count": 3,
        "strength": 2.0,
        "bandwidth": 0.2,
        "quantile": 0.1,
        "space": "student",
    }
    recipe: Recipe = tiny_recipe(**{f"distill__prototypes__{name}": value for name, value in values.items()})
    assert hyperparameters(recipe.distill.prototypes) == Choice(**values)
