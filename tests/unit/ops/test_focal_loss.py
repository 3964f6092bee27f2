from __future__ import annotations

import mmcv.ops
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

LOGITS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)).double() * 3
TARGET = torch.arange(12) % 6  # 5 is background

# From the tests of mmcv, made with its CUDA kernel (alpha 0.25, gamma 2, mean); it has none for the CPU.
PUBLISHED = [
    ([[1.0, 0.0], [0.0, 1.0]], [0, 1], 0.13562961, [[-0.00657264, 0.11185755], [0.11185755, -0.00657264]]),
    (
        [[1.0, 0.0, -1.0], [0.0, 1.0, 2.0]],
        [2, 1],
        1.10251057,
        [[0.28808805, 0.11185755, -0.09602935], [0.11185755, -0.00657264, 0.40376765]],
    ),
]


def loss(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25, **rest: object) -> Tensor:
    options = {"weight": None, "reduction": "none"} | rest
    found: Tensor = mmcv.ops.sigmoid_focal_loss(logits, target, gamma, alpha, *options.values())
    return found


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    return F.one_hot(target, num_classes + 1)[:, :num_classes].double()


@pytest.mark.parametrize(("logits", "target", "value", "gradient"), PUBLISHED)
def test_published_values(
    logits: list[list[float]], target: list[int], value: float, gradient: list[list[float]]
) -> None:
    x = torch.tensor(logits, requires_grad=True)
    found = loss(x, torch.tensor(target), reduction="mean")
    assert found.item() == pytest.approx(value, abs=1e-5)
    torch.testing.assert_close(torch.autograd.grad(found, x)[0], torch.tensor(gradient), atol=1e-5, rtol=0)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
def test_gamma_zero_is_weighted_cross_entropy(alpha: float) -> None:
    positive = one_hot(TARGET, 5)
    entropy = F.binary_cross_entropy_with_logits(LOGITS, positive, reduction="none")
    expected = entropy * (positive * alpha + (1 - positive) * (1 - alpha))
    torch.testing.assert_close(loss(LOGITS, TARGET, gamma=0.0, alpha=alpha), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_formula(gamma: float) -> None:
    p = LOGITS.sigmoid()
    positive = one_hot(TARGET, 5)
    expected = -0.25 * positive * (1 - p) ** gamma * p.log() - 0.75 * (1 - positive) * p**gamma * (1 - p).log()
    torch.testing.assert_close(loss(LOGITS, TARGET, gamma=gamma), expected)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_gradient_is_that_of_the_value(gamma: float, reduction: str) -> None:
    x = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, TARGET, gamma, reduction=reduction), x)


def test_reductions() -> None:
    each = loss(LOGITS, TARGET)
    torch.testing.assert_close(loss(LOGITS, TARGET, reduction="sum"), each.sum())
    torch.testing.assert_close(loss(LOGITS, TARGET, reduction="mean"), each.sum() / 12)


def test_class_weights_scale_the_rows_of_their_class() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).double()
    factor = torch.cat([weight, torch.ones(1)])[TARGET].unsqueeze(1)  # background rows are not scaled
    torch.testing.assert_close(loss(LOGITS, TARGET, weight=weight), loss(LOGITS, TARGET) * factor)
    x = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, TARGET, weight=weight), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_stay_exact(dtype: torch.dtype) -> None:
    x = torch.tensor([[200.0], [-200.0]], dtype=dtype).repeat(2, 1).requires_grad_()
    found = loss(x, torch.tensor([0, 0, 1, 1]))
    (gradient,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(found.flatten().detach(), torch.tensor([0.0, 50.0, 150.0, 0.0], dtype=dtype))
    torch.testing.assert_close(gradient.flatten(), torch.tensor([0.0, -0.25, 0.75, 0.0], dtype=dtype))


def test_no_rows() -> None:
    x = torch.zeros(0, 5, requires_grad=True)
    total = loss(x, torch.zeros(0, dtype=torch.long), reduction="sum")
    assert total.item() == 0
    assert torch.autograd.grad(total, x)[0].shape == (0, 5)
