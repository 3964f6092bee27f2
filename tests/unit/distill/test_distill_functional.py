"""The functions under the losses: attention, box masks, standardisation, FGD's sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.losses import LoopedFGD
from ikd.distill import Targets, build_loss
from ikd.distill.functional import (
    attention,
    background_mask,
    channel_attention,
    foreground_mask,
    spatial_attention,
    standardise,
)
from ikd.distill.losses.fgd_sums import sums
from tests.unit.distill.maps import EMPTY, TARGETS, boxes, maps


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_masks_by_hand() -> None:
    foreground = foreground_mask(TARGETS, (6, 8))
    assert foreground.sum(dim=(1, 2)).tolist() == pytest.approx([1.55, 0.7619047619])
    assert (foreground > 0).sum(dim=(1, 2)).tolist() == [20, 48]
    assert background_mask(foreground).sum(dim=(1, 2)).tolist() == pytest.approx([1.0, 0.0])
    # the second box covers cells 2..4 x 1..3 of image 0: nine cells, and the smaller box wins inside the larger
    assert foreground[0, 2, 3].item() == pytest.approx(1 / 9)
    assert foreground[0, 1, 1].item() == pytest.approx(1 / 20)


@pytest.mark.parametrize("counts", [(7, 7, 7), (0, 5, 1)])
def test_masks_equal_a_loop_over_boxes(counts: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    per_image = []
    for count in counts:
        corners = torch.rand((count, 4), generator=generator) * torch.tensor([50.0, 40, 14, 8])
        per_image.append(torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:]], dim=1))
    targets = Targets(per_image, [torch.zeros(count) for count in counts], (48, 64))
    expected = torch.zeros(3, 6, 8)
    for image, rows in enumerate(per_image):
        for x1, y1, x2, y2 in (rows / 8).tolist():
            left, top, right, bottom = int(x1), int(y1), -int(-x2 // 1), -int(-y2 // 1)
            area = (right - left + 1) * (bottom - top + 1)
            window = expected[image, top : bottom + 1, left : right + 1]
            window.copy_(window.clamp(min=1 / area))
    assert torch.allclose(foreground_mask(targets, (6, 8)), expected)


def test_masks_without_boxes() -> None:
    foreground = foreground_mask(EMPTY, (6, 8))
    assert foreground.shape == (2, 6, 8)
    assert foreground.sum() == 0
    assert background_mask(foreground).flatten().tolist() == pytest.approx([1 / 48] * 96)


def test_padding_rows_touch_no_cell_of_any_map() -> None:
    """An image with fewer boxes than another gets rows that must stay outside, on the coarsest map too."""
    targets = boxes([[0.0, 0, 64, 48]], [])
    for size in ((48, 64), (6, 8), (1, 1)):
        covered = foreground_mask(targets, size) > 0
        assert covered[0].all()
        assert not covered[1].any()


def test_attention_averages_to_one_and_sharpens() -> None:
    _, teacher = maps()
    spatial, channel = spatial_attention(teacher, 0.5), channel_attention(teacher, 0.5)
    assert spatial.mean(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0])
    assert channel.mean(dim=1).tolist() == pytest.approx([1.0, 1.0])
    assert (spatial.max().item(), spatial.min().item()) == pytest.approx((1.612668380, 0.655808146))
    assert channel[0].tolist() == pytest.approx([1.0080494, 0.9986307, 0.9910412, 1.0022788], abs=1e-7)
    assert spatial_attention(teacher, 0.1).max() > spatial.max()


def test_standardise() -> None:
    features = maps()[0]
    result = standardise(features)
    assert result.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.0] * 4, abs=1e-12)
    assert result.std(dim=(0, 2, 3)).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    deviation = features.std(dim=(0, 2, 3), keepdim=True)
    expected = (features - features.mean(dim=(0, 2, 3), keepdim=True)) / (deviation + 1e-6)
    assert torch.allclose(result, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("features", [torch.ones(2, 3, 4, 4), torch.ones(1, 3, 1, 1)], ids=["constant", "one cell"])
def test_standardise_without_spread(features: Tensor) -> None:
    features = features.double().requires_grad_()
    result = standardise(features)
    torch.autograd.backward(result.sum())
    assert not result.any()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def flat_maps() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 5, generator=generator) for _ in range(2))
    return student.requires_grad_(), teacher, torch.randn(3, generator=generator, requires_grad=True)


def test_sums_are_the_plain_sums() -> None:
    student, teacher, key = flat_maps()
    got = sums(student, teacher, key, 0.5)
    spatial, channel = attention(teacher[..., None], 0.5)
    difference = student - teacher
    where = torch.einsum("c,ncp->np", key, student).softmax(dim=1)
    expected = {
        "error": (channel[:, :, None] * difference**2).sum(dim=1),
        "squared": (difference**2).sum(),
        "difference": difference.sum(dim=2),
        "over_channels": student.abs().sum(dim=1),
        "over_cells": student.abs().sum(dim=2),
        "pooled": torch.einsum("np,ncp->nc", where, student),
        "spatial": spatial[..., 0],
        "channel": channel,
    }
    assert list(got._fields) == list(expected)
    for name, value in expected.items():
        assert torch.allclose(getattr(got, name), value, rtol=1e-12, atol=0), name


def test_the_gradient_of_the_sums() -> None:
    student, teacher, key = flat_maps()
    assert torch.autograd.gradcheck(lambda one, other: sums(one, teacher, other, 0.5)[:6], (student, key))


def test_fgd_terms_equal_the_authors_code() -> None:
    fgd: Any = build_loss("fgd", 4, 4, alpha=1.0, beta=1.0, gamma=1.0, lambda_=1.0).loss
    parts = {name: value.item() for name, value in fgd.parts(*maps(), TARGETS).items()}
    expected = {"foreground": 13.48785507, "background": 9.595925838, "attention": 18.74794739, "relation": 727.7072726}
    assert parts == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, 0.03129832804),
        ({"alpha": 5e-5, "beta": 2.5e-5, "gamma": 5e-5, "lambda_": 5e-7}, 0.002215541905),
    ],
    ids=["one-stage", "two-stage"],
)
def test_fgd_recipes(weights: dict[str, float], expected: float) -> None:
    assert build_loss("fgd", 4, 4, **weights)(*maps(), TARGETS).item() == pytest.approx(expected, rel=1e-9)


def test_fgd_relation_with_trained_contexts() -> None:
    """The expanded square equals the distance of the two residual blocks, written out."""
    torch.manual_seed(0)
    fgd: Any = build_loss("fgd", 4, 4, alpha=0.0, beta=0.0, gamma=0.0, lambda_=1.0).loss
    for parameter in fgd.parameters():
        torch.nn.init.normal_(parameter)
    student, teacher = maps()
    sides = []
    for features, block in ((student, fgd.student_context), (teacher, fgd.teacher_context)):
        where = block.position(features).flatten(1).softmax(dim=1)
        context = torch.einsum("np,ncp->nc", where, features.flatten(2))
        sides.append(features + block.expand(block.norm(block.reduce(context)).relu())[:, :, None, None])
    expected = (sides[0] - sides[1]).square().sum() / 2
    assert fgd(student, teacher, TARGETS).item() == pytest.approx(expected.item(), rel=1e-10)


def test_fgd_equals_the_loop_over_boxes() -> None:
    """In value and gradient, with trained contexts."""
    torch.manual_seed(0)
    looped = LoopedFGD(4)
    for parameter in looped.parameters():
        torch.nn.init.normal_(parameter)
    student, teacher = maps()
    sides = [student.clone().requires_grad_() for _ in range(2)]
    values = [loss(side, teacher, TARGETS) for loss, side in zip((looped, looped.fgd), sides, strict=True)]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-12)
    first, second = (torch.autograd.grad(value, side)[0] for value, side in zip(values, sides, strict=True))
    assert torch.allclose(first, second, rtol=1e-9, atol=1e-12)
