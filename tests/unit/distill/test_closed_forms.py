"""Losses whose arithmetic is rearranged for speed, against their formulae written down: values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill import Targets, build_loss
from ikd.distill.functional import attention, pearson_distance, standardise
from ikd.distill.losses.fbkd import Norm, WithMeans
from tests.unit.distill.test_generative_losses import plain_non_local

NO_BOXES = Targets([], [], (1, 1))


def pearson_by_definition(student: Tensor, teacher: Tensor) -> Tensor:
    return F.mse_loss(standardise(student), standardise(teacher)) / 2


def some_maps(dtype: torch.dtype, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(2, 5, 6, 8, dtype=dtype, generator=generator) * 3 + 2
    student = teacher + noise * torch.randn(2, 5, 6, 8, dtype=dtype, generator=generator)
    return student.requires_grad_(), teacher.requires_grad_()


def with_gradients(value: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return [value.detach(), *torch.autograd.grad(value, leaves)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize("noise", [1.0, 10.0])
def test_pearson_distance_is_its_definition(dtype: torch.dtype, tolerance: float, noise: float) -> None:
    leaves = list(some_maps(dtype, noise))
    found = with_gradients(pearson_distance(*leaves), leaves)
    expected = with_gradients(pearson_by_definition(*leaves), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


def test_pearson_distance_has_the_gradient_of_its_value() -> None:
    assert torch.autograd.gradcheck(pearson_distance, some_maps(torch.float64))


def test_a_channel_without_spread_has_a_finite_gradient_as_by_definition() -> None:
    student, teacher = (one.detach() for one in some_maps(torch.float64))
    student[:, 0], teacher[:, 1] = 3.0, -1.0
    student.requires_grad_()
    found, expected = (
        with_gradients(loss(student, teacher), [student]) for loss in (pearson_distance, pearson_by_definition)
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)
    assert found[1].isfinite().all()


def test_pearson_distance_of_equal_maps_is_zero_and_pulls_nowhere() -> None:
    student, _ = some_maps(torch.float64)
    value, gradient = with_gradients(pearson_distance(student, student.detach()), [student])
    assert value == 0
    assert not gradient.any()


def fbkd_by_formula(fbkd: Any, student: Tensor, teacher: Tensor) -> Tensor:
    """Every term as the docstring has it, one operation after the other."""
    (ours, our_channels), (theirs, their_channels) = (attention(one, fbkd.temperature) for one in (student, teacher))
    mask = ((ours + theirs) / 2).sqrt()[:, None] * ((our_channels + their_channels) / 2).sqrt()[:, :, None, None]
    relation = fbkd.relation_adapter(plain_non_local(fbkd.student_relation, student))
    feature = (fbkd.feature_adapter(student) - teacher) * mask.detach()
    channel = fbkd.channel_adapter(student.mean(dim=(2, 3))) - teacher.mean(dim=(2, 3))
    spatial = fbkd.spatial_adapter(student.mean(dim=1, keepdim=True)) - teacher.mean(dim=1, keepdim=True)
    distances = torch.stack(
        [
            feature.norm(),
            (relation - plain_non_local(fbkd.teacher_relation, teacher)).norm(),
            channel.norm(),
            spatial.norm(),
        ]
    )
    weights = [fbkd.w_feature, fbkd.w_feature, fbkd.w_attention, fbkd.w_attention]
    return (distances * distances.new_tensor(weights)).sum()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("level", [0, 2])
def test_fbkd_is_its_formula_in_value_and_every_gradient(level: int, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    fbkd: Any = build_loss("fbkd", 8, 8, level=level).loss.to(dtype)
    for parameter in fbkd.parameters():
        nn.init.normal_(parameter, std=0.3)
    student, teacher = torch.randn(2, 2, 8, 16, 12, dtype=dtype)
    leaves = [student.requires_grad_(), *fbkd.parameters()]
    found = with_gradients(fbkd(student, teacher, NO_BOXES), leaves)
    expected = with_gradients(fbkd_by_formula(fbkd, student, teacher), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


def test_fbkd_has_the_gradient_of_its_value() -> None:
    torch.manual_seed(0)
    fbkd: Any = build_loss("fbkd", 3, 3).loss.double()
    for parameter in fbkd.parameters():
        nn.init.normal_(parameter)
    # hot attention is nearly even, and its masks, constants to the gradient, hardly move
    fbkd.temperature = 1e9
    student, teacher = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda one: fbkd(one, teacher, NO_BOXES), student.requires_grad_())


def test_norm_has_the_gradient_of_its_value_and_zero_at_zero() -> None:
    values = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    factors = torch.rand(2, 1, 5, dtype=torch.float64), torch.rand(2, 3, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda one: Norm.apply(one, *factors), values)  # type: ignore[no-untyped-call]
    nothing = torch.zeros(2, 3, 5, requires_grad=True)
    value, gradient = with_gradients(Norm.apply(nothing), [nothing])  # type: ignore[no-untyped-call]
    assert value == 0
    assert not gradient.any()


def test_means_give_one_gradient() -> None:
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(WithMeans.apply, features)
