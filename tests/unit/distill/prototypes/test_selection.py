"""Prototypes are those of the authors' greedy steps, found without a table of candidates by instances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ikd.distill.prototypes.selection import dense, density, greedy, ridge, unit

PUBLISHED = {"bandwidth": 0.1, "quantile": 0.4}


def instances(count: int = 12) -> tuple[Tensor, Tensor]:
    i = torch.arange(count, dtype=torch.float64)[:, None]
    d = torch.arange(5, dtype=torch.float64)[None]
    return torch.sin(0.9 * i + 1.7 * d + 0.3 * i * d), torch.cos(0.5 * i + 1.1 * d + 0.2 * i * d)


def drawn(seed: int, count: int, width: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(count, width, generator=generator, dtype=torch.float64)
    other = torch.randn(count, width - 1, generator=generator, dtype=torch.float64)
    return common, common[:, :-1] + 0.5 * other


def test_the_dense_ones_are_the_reference() -> None:
    teacher, student = instances()
    assert dense(teacher, student, **PUBLISHED).tolist() == [1, 2, 8, 9]


@pytest.mark.parametrize(
    ("strength", "tested", "chosen"),
    [
        (10, True, [8, 1, 2, 9]),
        (0, False, [8, 3, 1, 0]),
        (1, False, [8, 1, 3, 11]),
        (10, False, [8, 1, 3, 7]),
        (100, False, [8, 1, 3, 7]),
    ],
)
def test_the_choices_are_the_reference(strength: float, tested: bool, chosen: list[int]) -> None:
    teacher, student = instances()
    candidates = dense(teacher, student, **PUBLISHED) if tested else torch.arange(12)
    assert greedy(teacher, student, candidates, count=4, strength=strength).indices.tolist() == chosen


def test_the_objective_is_the_reference() -> None:
    teacher, student = instances()
    found = greedy(teacher, student, dense(teacher, student, **PUBLISHED), count=4, strength=10)
    expected = [24, 17.218246, 12.837333, 10.604241, 8.646871]
    assert found.objective.tolist() == pytest.approx(expected, abs=1e-6)


def test_none_is_chosen_twice_and_fewer_candidates_give_fewer() -> None:
    teacher, student = instances()
    found = greedy(teacher, student, dense(teacher, student, **PUBLISHED), count=8, strength=10)
    assert sorted(found.indices.tolist()) == [1, 2, 8, 9]
    assert len(found.objective) == 5


@pytest.mark.parametrize("strength", [0.0, 0.3, 10.0, 1000.0])
@pytest.mark.parametrize("seed", range(3))
def test_each_choice_is_the_best_by_solving_for_every_candidate(seed: int, strength: float) -> None:
    teacher, student = (unit(side) for side in drawn(seed, 20))
    found = greedy(teacher, student, torch.arange(20), count=5, strength=strength)
    r, q, left = teacher, student, set(range(20))
    for step, choice in enumerate(found.indices.tolist()):
        costs = {}
        for one in left:
            u, v = _solved(r, q, teacher[one], student[one], strength)
            rest = (r - u[:, None] * teacher[one], q - v[:, None] * student[one])
            costs[one] = float((rest[0] ** 2).sum() + (rest[1] ** 2).sum() + strength * ((u - v) ** 2).sum())
        assert choice == min(costs, key=lambda one: costs[one])
        assert costs[choice] == pytest.approx(float(found.objective[step + 1]), rel=1e-9, abs=1e-10)
        u, v = _solved(r, q, teacher[choice], student[choice], strength)
        r, q = r - u[:, None] * teacher[choice], q - v[:, None] * student[choice]
        left.remove(choice)


def _solved(r: Tensor, q: Tensor, a: Tensor, b: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    matrix = torch.tensor([[a @ a + strength, -strength], [-strength, b @ b + strength]], dtype=torch.float64)
    solved = torch.linalg.solve(matrix, torch.stack([r @ a, q @ b]))
    return solved[0], solved[1]


def test_the_coefficients_are_a_minimum() -> None:
    teacher, student = drawn(5, 7)
    a, b = drawn(6, 1)[0][0], drawn(6, 1)[1][0]
    u, v = ridge(teacher, student, a, b, 0.7)
    solved = _solved(teacher, student, a, b, 0.7)
    torch.testing.assert_close(u, solved[0])
    torch.testing.assert_close(v, solved[1])


def test_a_great_strength_makes_both_spaces_agree_and_none_lets_them_part() -> None:
    teacher, student = (unit(side) for side in drawn(3, 9))
    u, v = ridge(teacher, student, teacher[0], student[0], 1e9)
    torch.testing.assert_close(u, v, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(u, (teacher @ teacher[0] + student @ student[0]) / 2, rtol=1e-6, atol=1e-6)
    alone, _ = ridge(teacher, student, teacher[0], student[0], 0.0)
    torch.testing.assert_close(alone, teacher @ teacher[0])


def test_rows_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, _ = drawn(1, 50)
    whole = density(teacher, 0.1)
    monkeypatch.setattr("ikd.distill.prototypes.selection.ROWS", 7)
    torch.testing.assert_close(density(teacher, 0.1), whole)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_instances_are_no_fault(count: int) -> None:
    teacher, student = instances(count) if count else (torch.zeros(0, 5), torch.zeros(0, 5))
    candidates = dense(teacher, student, **PUBLISHED)
    found = greedy(teacher, student, candidates, count=10, strength=10)
    assert 0 < len(found.indices) <= count or count == 0
    assert torch.isfinite(found.objective).all()


@pytest.mark.parametrize("strength", [0.0, 10.0])
def test_instances_of_zeros_and_equal_ones_are_no_fault(strength: float) -> None:
    teacher, student = instances()
    teacher[3] = 0
    student[3] = 0
    teacher[5], student[5] = teacher[6], student[6]
    found = greedy(teacher, student, torch.arange(12), count=12, strength=strength)
    assert torch.isfinite(found.objective).all()
    assert len(set(found.indices.tolist())) == len(found.indices)
    assert (found.objective.diff() <= 1e-12).all(), "no choice makes it worse"
