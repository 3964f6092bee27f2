from __future__ import annotations

from typing import Any

import mmcv.ops
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ikd.ops import deform_conv as _deform_conv
from tests.assets import ops_cases

GEOMETRIES = [
    {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1},
    {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "groups": 2},
    {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1), "groups": 4},
]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("deform_groups", [1, 2])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_without_offsets_it_is_a_convolution(geometry: dict[str, Any], deform_groups: int) -> None:
    features, bias = normal(2, 4, 9, 8), normal(8, seed=1)
    weight = normal(8, 4 // geometry["groups"], 3, 3, seed=2)
    expected = F.conv2d(features, weight, None, **geometry)
    size = expected.shape[2:]
    offset, mask = torch.zeros(2, 18 * deform_groups, *size).double(), torch.ones(2, 9 * deform_groups, *size).double()
    options = (*geometry.values(), deform_groups)
    torch.testing.assert_close(mmcv.ops.deform_conv2d(features, offset, weight, *options), expected)
    modulated = mmcv.ops.modulated_deform_conv2d(features, offset, mask / 2, weight, bias, *options)
    torch.testing.assert_close(modulated, expected / 2 + bias.view(-1, 1, 1))


def test_whole_offsets_move_the_input() -> None:
    features, weight = normal(1, 3, 8, 8), normal(2, 3, 3, 3, seed=1)
    offset = torch.tensor([2.0, -1.0]).double().repeat(9).view(1, 18, 1, 1).expand(1, 18, 8, 8)  # (y, x) of every tap
    moved = F.pad(features, (1, 0, 0, 2))[:, :, 2:, :-1]  # reads 2 further down and 1 further left
    found = mmcv.ops.deform_conv2d(features, offset, weight, 1, 1)
    expected = F.conv2d(moved, weight, None, 1, 1)
    torch.testing.assert_close(found[..., 1:-2, 2:-1], expected[..., 1:-2, 2:-1])  # away from the padding


def test_half_offsets_average_two_pixels() -> None:
    features, weight = normal(1, 1, 4, 6), torch.ones(1, 1, 1, 1).double()
    offset = torch.tensor([0.0, 0.5]).double().view(1, 2, 1, 1).expand(1, 2, 4, 6)
    found = mmcv.ops.deform_conv2d(features, offset, weight)
    torch.testing.assert_close(found[..., :-1], (features[..., :-1] + features[..., 1:]) / 2)
    torch.testing.assert_close(found[..., -1], features[..., -1] / 2)  # beyond the edge lie zeros


def test_far_offsets_read_zeros() -> None:
    offset = torch.full((1, 18, 5, 5), 1e6).double()
    assert not mmcv.ops.deform_conv2d(normal(1, 2, 5, 5), offset, normal(3, 2, 3, 3), 1, 1).any()


@pytest.mark.parametrize("seed", [0, 5, 10, 15])
@pytest.mark.parametrize("modulated", [False, True])
def test_gradients_are_those_of_the_value(seed: int, modulated: bool) -> None:
    case = ops_cases.deform_conv_case(seed, modulated=modulated, dtype=torch.float64)
    tensors = [
        tensor[:1] if name in ("features", "offset", "mask") else tensor for name, tensor in case.tensors.items()
    ]
    operator = getattr(mmcv.ops, case.op)
    inputs = [tensor.requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(lambda *x: operator(*x, *case.options.values()), inputs, fast_mode=True)


@pytest.mark.parametrize("modulated", [False, True])
def test_size_of_the_working_batch_changes_nothing(modulated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    case = ops_cases.deform_conv_case(3, modulated=modulated)
    assert len(case.tensors["features"]) > 1
    whole = ops_cases.run(case)
    monkeypatch.setattr(_deform_conv, "MAX_COLUMNS", 1)
    torch.testing.assert_close(ops_cases.run(case), whole)


def test_autocast_does_not_lower_the_precision() -> None:
    features, offset, weight = normal(1, 4, 6, 6).float(), normal(1, 18, 6, 6).float(), normal(4, 4, 3, 3).float()
    expected = mmcv.ops.deform_conv2d(features, offset, weight, 1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mmcv.ops.deform_conv2d(features, offset, weight, 1, 1)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_weight_gradient_alone() -> None:
    features, offset, weight = (
        normal(2, 2, 5, 5),
        torch.zeros(2, 18, 5, 5).double(),
        normal(3, 2, 3, 3).requires_grad_(),
    )
    found = torch.autograd.grad(mmcv.ops.deform_conv2d(features, offset, weight, 1, 1).square().sum(), weight)
    expected = torch.autograd.grad(F.conv2d(features, weight, None, 1, 1).square().sum(), weight)
    torch.testing.assert_close(found, expected)
