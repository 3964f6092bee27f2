"""Maps in units of the teacher's deviation: what `reduction: variance` is for each loss."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.config import LOSSES as DECLARED
from ikd.distill import LOSSES, build_loss, takes
from ikd.errors import BadInput
from tests.unit.distill.maps import TARGETS, make_identity, maps

BETWEEN_MAPS = sorted(name for name in LOSSES if DECLARED[name].reads_maps)

BLIND = ("nad", "pkd", "rkd")
"""Losses that do not change when both maps are scaled alike."""


def loss_of(name: str, student: Tensor, teacher: Tensor, **arguments: Any) -> Tensor:
    torch.manual_seed(0)
    loss = build_loss(name, student.shape[1], teacher.shape[1], **arguments)
    torch.manual_seed(1)  # MGD's mask
    found: Tensor = loss(student, teacher, TARGETS)
    return found


@pytest.mark.parametrize("name", BETWEEN_MAPS)
@pytest.mark.parametrize("channels", [4, 3])
def test_scaling_both_maps_leaves_the_loss(name: str, channels: int) -> None:
    """Also behind an adapter, which stands where the student has other channels."""
    student, teacher = (one.float() for one in maps())
    student = student[:, :channels]
    plain, scaled = (
        loss_of(name, factor * student, factor * teacher, reduction="variance").item() for factor in (1.0, 37.0)
    )
    assert scaled == pytest.approx(plain, rel=1e-4)
    assert plain > 0


@pytest.mark.parametrize("name", sorted({*BETWEEN_MAPS} - {*BLIND}))
def test_scaling_both_maps_changes_other_reductions(name: str) -> None:
    student, teacher = (one.float() for one in maps())
    kind = {"reduction": "mean"} if takes(name, "reduction") else {}
    plain, scaled = (loss_of(name, factor * student, factor * teacher, **kind).item() for factor in (1.0, 37.0))
    assert scaled != pytest.approx(plain, rel=1e-2)


@pytest.mark.parametrize("name", BLIND)
def test_losses_that_are_blind_to_scale_stay_as_they_are(name: str) -> None:
    student, teacher = maps()
    assert loss_of(name, student, teacher, reduction="variance").item() == pytest.approx(
        loss_of(name, student, teacher).item(), rel=1e-4
    )


def test_a_squared_error_is_in_units_of_the_teachers_variance() -> None:
    """By hand: T of 0 and 6 has variance 9; S - T of 3 everywhere makes 9 / 9 = 1, an absolute error 3 / 3."""
    teacher = torch.tensor([0.0, 6.0]).repeat(2, 1, 2, 1)
    student = teacher + 3
    assert loss_of("fitnet", student, teacher, reduction="variance", weight=2.0).item() == pytest.approx(2.0)
    for distance, expected in (("mse", 0.5), ("l1", 0.5)):
        options = {"weight": 0.5, "distance": distance, "reduction": "variance"}
        assert loss_of("adversarial", student, teacher, **options).item() == pytest.approx(expected)
    mgd = build_loss("mgd", 1, 1, alpha=4.0, mask_ratio=0.0, reduction="variance")
    make_identity(mgd, shift=10.0)
    assert mgd(student, teacher, TARGETS).item() == pytest.approx(4.0)
    weights: Any = mgd.loss
    assert weights.effective_weight(4) == pytest.approx(4.0)


def test_the_deviation_is_that_of_the_level_and_takes_no_gradient() -> None:
    student, teacher = (one.float() for one in maps())
    student.requires_grad_()
    teacher.requires_grad_()
    loss_of("fitnet", student, teacher, reduction="variance").backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert student.grad is not None
    expected = 2 * (student - teacher) / teacher.var(correction=0) / teacher.numel()
    torch.testing.assert_close(student.grad, expected.detach())


def test_a_constant_teacher_is_taken_as_it_is() -> None:
    student = torch.ones(1, 1, 2, 2)
    assert loss_of("fitnet", student, torch.zeros(1, 1, 2, 2), reduction="variance").item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype: torch.dtype) -> None:
    student, teacher = (300 * one.to(dtype) for one in maps())
    assert math.isfinite(loss_of("mgd", student, teacher, reduction="variance").item())


def test_other_reductions_are_refused() -> None:
    with pytest.raises(BadInput, match="loss mgd: reduction: must be one of published, mean, variance, but got 'std'"):
        build_loss("mgd", 4, 4, reduction="std")
