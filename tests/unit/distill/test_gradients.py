"""The pull of each term on the backbone: by hand, and without a trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ikd.distill.gradients import relative_pulls


class Student(nn.Module):
    """A backbone of two weights, and a neck that is not measured."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 1, bias=False)
        self.neck = nn.Linear(1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.neck(self.backbone(inputs)).sum()


def test_norms_are_relative_to_the_detection_loss() -> None:
    student = Student()
    value = student(torch.tensor([[3.0, 4.0]]))
    terms = {"twice": 2 * value, "against": -0.5 * value, "elsewhere": student.neck.bias.sum(), "constant": value * 0}
    found = relative_pulls(value, terms, student, scale=1.0)
    assert found == {"twice": pytest.approx(2), "against": pytest.approx(0.5), "elsewhere": 0.0, "constant": 0.0}
    detached = relative_pulls(value, {"none": torch.tensor(3.0)}, student, scale=1.0)
    assert detached == {"none": 0.0}


def test_nothing_is_left_behind() -> None:
    student = Student()
    value = student(torch.randn(5, 2))
    state = torch.get_rng_state()
    relative_pulls(value, {"term": value**2}, student, scale=1.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in student.parameters())
    value.backward()  # the graph is still there
    assert student.backbone.weight.grad is not None


def test_a_scale_keeps_small_gradients_of_half_precision() -> None:
    student = Student().half()
    value = student(torch.ones(1, 2, dtype=torch.float16))
    terms = {"small": 1e-8 * value.float()}
    assert relative_pulls(value.float(), terms, student, scale=2.0**10)["small"] == pytest.approx(1e-8, rel=1e-2)
    assert relative_pulls(value.float(), terms, student, scale=1.0) == {"small": 0.0}


def test_a_scale_that_overflows_measures_nothing() -> None:
    student = Student().half()
    value = student(torch.ones(1, 2, dtype=torch.float16)).float()
    assert relative_pulls(value, {"term": value}, student, scale=2.0**20) == {}


def test_what_cannot_be_measured_is_left_out() -> None:
    student: Any = Student()
    value = student(torch.ones(1, 2))
    assert relative_pulls(value * 0, {"term": value}, student, scale=1.0) == {}, "nothing to be relative to"
    student.backbone.with_cp = True
    assert relative_pulls(value, {"term": value}, student, scale=1.0) == {}
    frozen = Student()
    frozen.backbone.requires_grad_(False)
    assert relative_pulls(value, {"term": value}, frozen, scale=1.0) == {}
