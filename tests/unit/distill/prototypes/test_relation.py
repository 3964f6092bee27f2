"""Reliability, global and feature loss by the reference and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.distill.functional import Targets
from ikd.distill.prototypes.relation import (
    Coefficients,
    Prototypes,
    Relations,
    feature_loss,
    global_loss,
    painted,
    pooled,
)
from ikd.distill.prototypes.relation import relations as compared
from tests.unit.distill.prototypes.test_selection import drawn, instances


def relations(*instances: Any, coefficients: Coefficients = "cosine", strength: float = 10) -> Relations:
    return compared(*instances, coefficients=coefficients, strength=strength)


CHOSEN = [8, 1, 2, 9]
NOT_LABELLED = torch.zeros(12, dtype=torch.long)


def of_reference() -> tuple[Tensor, Tensor, Prototypes]:
    teacher, student = instances()
    return teacher, student, Prototypes(teacher[CHOSEN], student[CHOSEN], NOT_LABELLED[:4])


def test_reliability_is_the_reference() -> None:
    teacher, student, prototypes = of_reference()
    expected = [0.552973, 1, 1, 0.6657, 0.691391, 0.415596, 0.963463, 0.367202, 1, 1, 0.975865, 0.699037]
    found = relations(teacher, student, NOT_LABELLED, prototypes).reliability
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_global_loss_is_the_reference() -> None:
    teacher, student, prototypes = of_reference()
    found = global_loss(relations(teacher, student, NOT_LABELLED, prototypes))
    assert float(found) == pytest.approx(0.1316709441, abs=1e-9)


def test_ridge_coefficients_come_closer_by_the_closed_form() -> None:
    teacher, student, prototypes = of_reference()
    cosine = relations(teacher, student, NOT_LABELLED, prototypes)
    ridge = relations(teacher, student, NOT_LABELLED, prototypes, coefficients="ridge", strength=10)
    torch.testing.assert_close(ridge.student - ridge.teacher, (cosine.student - cosine.teacher) / 21)
    torch.testing.assert_close(ridge.student + ridge.teacher, cosine.student + cosine.teacher)


def test_other_classes_have_no_say_in_reliability_and_an_unknown_class_is_reliable() -> None:
    teacher, student = drawn(4, 6)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    prototypes = Prototypes(teacher[[0, 2]], student[[0, 2]], labels[[0, 2]])
    found = relations(teacher, student, labels, prototypes).reliability
    alone = relations(
        teacher[:2], student[:2], labels[:2], Prototypes(teacher[:1], student[:1], labels[:1])
    ).reliability
    torch.testing.assert_close(found[:2], alone)
    assert found[4:].tolist() == [1, 1]


@pytest.mark.parametrize(("count", "known"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_compare_costs_nothing_and_breaks_nothing(count: int, known: int) -> None:
    teacher, student = drawn(2, 3)
    student = student.requires_grad_()
    labels = torch.zeros(3, dtype=torch.long)
    prototypes = Prototypes(teacher[:known], student[:known].detach(), labels[:known])
    found = relations(teacher[:count], student[:count], labels[:count], prototypes)
    loss = global_loss(found)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert found.reliability.tolist() == [1] * count


def test_the_student_alone_has_a_gradient_and_reliability_has_none() -> None:
    teacher, student, prototypes = of_reference()
    teacher.requires_grad_()
    student.requires_grad_()
    found = relations(
        teacher,
        student,
        NOT_LABELLED,
        Prototypes(prototypes.teacher.detach(), prototypes.student.detach(), prototypes.labels),
    )
    assert not found.reliability.requires_grad
    global_loss(found).backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert student.grad is not None
    assert float(student.grad.abs().sum()) > 0


TARGETS = Targets(
    boxes=[torch.tensor([[0.0, 0.0, 15.0, 15.0], [8.0, 0.0, 31.0, 7.0]]), torch.zeros(0, 4)],
    labels=[torch.tensor([0, 1]), torch.zeros(0, dtype=torch.long)],
    input_size=(32, 32),
)


def test_a_cell_has_the_largest_reliability_of_the_boxes_over_it() -> None:
    omega = painted(torch.tensor([0.5, 0.8]), TARGETS, (4, 4))
    assert omega[0].tolist() == [[0.5, *[pytest.approx(0.8)] * 3], [0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert float(omega[1].sum()) == 0


def test_a_mean_over_boxes_is_that_of_their_cells() -> None:
    features = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = pooled(features, TARGETS)
    torch.testing.assert_close(found[0], features[0, :, :2, :2].mean(dim=(1, 2)))
    torch.testing.assert_close(found[1], features[0, :, 0, 1:].mean(dim=1))
    assert found.shape == (2, 3)


@pytest.mark.parametrize(
    "box", [[-9.0, -9.0, -1.0, -1.0], [40.0, 40.0, 90.0, 90.0], [31.9, 3.0, 31.9, 3.0], [-5, -5, 99, 99]]
)
def test_boxes_over_the_border_lie_on_the_map(box: list[float]) -> None:
    targets = Targets([torch.tensor([box])], [torch.tensor([0])], (32, 32))
    assert torch.isfinite(pooled(torch.ones(1, 2, 4, 4), targets)).all()
    assert 1 <= float((painted(torch.ones(1), targets, (4, 4)) > 0).sum()) <= 16


def test_the_feature_loss_by_hand() -> None:
    student, teacher = torch.zeros(1, 2, 1, 3), torch.tensor([[[[1.0, 2.0, 3.0]], [[1.0, 0.0, 1.0]]]])
    omega = torch.tensor([[[0.5, 0.25, 0.0]]])
    inside = (0.5 * 2 + 0.25 * 4) / (2 * 2 * 0.75)
    outside = 4 * 10 / (2 * 2 * 1)
    assert float(feature_loss(student, teacher, omega, background=4)) == pytest.approx(inside + outside)
    assert float(feature_loss(student, teacher, omega, background=0)) == pytest.approx(inside)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_map_without_boxes_or_without_background_is_finite(value: float) -> None:
    student = torch.randn(1, 2, 3, 3).requires_grad_()
    loss = feature_loss(student, torch.zeros(1, 2, 3, 3), torch.full((1, 3, 3), value), background=4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert float(student.grad.abs().sum()) > 0
