from __future__ import annotations

import mmcv.ops
import pytest
import torch
from torch import Tensor

from ikd.ops import roi_align as _roi_align
from tests.assets.ops_cases import random_boxes
from tests.marks import some


def pool(features: Tensor, rois: Tensor, **changes: object) -> Tensor:
    options = {"output_size": 3, "spatial_scale": 1.0, "sampling_ratio": 2, "pool_mode": "avg", "aligned": True}
    found: Tensor = mmcv.ops.roi_align(features, rois, *(options | changes).values())
    return found


def some_rois(count: int, size: float, seed: int = 0) -> Tensor:
    boxes = random_boxes(torch.Generator().manual_seed(seed), count, size)
    return torch.cat([torch.arange(count).unsqueeze(1) % 2, boxes], 1).double()


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 5])
def test_mean_of_a_ramp_is_its_value_at_the_bin_centre(sampling_ratio: int) -> None:
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    features = (3 + 2 * y - 0.5 * x).view(1, 1, 20, 30)
    roi = torch.tensor([[0.0, 8.0, 6.0, 44.0, 30.0]])  # times 1/2: x 4..22, y 3..15, bins 6 x 4 pixels
    found = pool(features, roi, spatial_scale=0.5, sampling_ratio=sampling_ratio)
    centre_y, centre_x = torch.tensor([5.0, 9.0, 13.0]) - 0.5, torch.tensor([7.0, 13.0, 19.0]) - 0.5
    torch.testing.assert_close(found[0, 0], 3 + 2 * centre_y.view(-1, 1) - 0.5 * centre_x)
    legacy = pool(features, roi, spatial_scale=0.5, sampling_ratio=sampling_ratio, aligned=False)
    torch.testing.assert_close(legacy[0, 0], found[0, 0] + 0.5 * (2 - 0.5))  # half a pixel further along both axes


def test_points_beyond_a_pixel_off_the_map_count_as_zero() -> None:
    features = torch.ones(1, 1, 4, 4)
    # one sample per roi, at x = centre - 0.5 and y = 1.5
    for centre, value in ((-0.6, 0.0), (-0.4, 1.0), (4.4, 1.0), (4.6, 0.0)):
        roi = torch.tensor([[0.0, centre - 0.1, 1.9, centre + 0.1, 2.1]])
        assert pool(features, roi, output_size=1, sampling_ratio=1).item() == pytest.approx(value)


def test_sampling_zero_takes_a_point_per_pixel() -> None:
    features = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    roi = torch.tensor([[1.0, 2.0, 1.0, 11.0, 7.0]]).double()  # bins of 3 x 2 pixels
    adaptive = pool(features, roi, sampling_ratio=0)
    direct = features[1, :, 1:7, 2:11].reshape(3, 3, 2, 3, 3).mean((2, 4))  # whole pixels under each bin
    torch.testing.assert_close(adaptive[0], direct)
    assert not torch.allclose(adaptive, pool(features, roi, sampling_ratio=1))


def test_largest_is_at_least_the_mean_and_one_of_the_samples() -> None:
    features = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    rois = some_rois(6, 14)
    largest, mean = (pool(features, rois, pool_mode=mode) for mode in ("max", "avg"))
    assert (largest >= mean - 1e-12).all()
    fine = pool(features, rois, output_size=6, sampling_ratio=1)  # the same four points a bin, one by one
    torch.testing.assert_close(largest, torch.nn.functional.max_pool2d(fine, 2))


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", some([True, False], 1))
def test_gradient_is_that_of_the_value(mode: str, ratio: int, aligned: bool) -> None:
    features = torch.randn(2, 2, 7, 6, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    rois = some_rois(4, 6)
    assert torch.autograd.gradcheck(
        lambda x: pool(x, rois, output_size=(2, 3), sampling_ratio=ratio, pool_mode=mode, aligned=aligned), features
    )


def test_every_bin_on_the_map_hands_its_whole_gradient_down() -> None:
    features = torch.zeros(1, 2, 10, 10, requires_grad=True)
    total = pool(features, torch.tensor([[0.0, 1.0, 1.0, 8.0, 9.0]] * 5)).sum()
    assert torch.autograd.grad(total, features)[0].sum().item() == pytest.approx(5 * 2 * 9, rel=1e-5)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_size_of_the_working_batch_changes_nothing(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rois = some_rois(9, 14).float()

    def value_and_gradient() -> tuple[Tensor, Tensor]:
        output = pool(features, rois, sampling_ratio=0, pool_mode=mode)
        return output.detach(), torch.autograd.grad(output.square().sum(), features)[0]

    whole = value_and_gradient()
    monkeypatch.setattr(_roi_align, "MAX_POINTS", 30)
    monkeypatch.setattr(_roi_align, "MAX_SAMPLES", 30)
    for found, expected in zip(value_and_gradient(), whole, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_no_rois(mode: str) -> None:
    features = torch.ones(1, 2, 5, 5, requires_grad=True)
    output = pool(features, torch.zeros(0, 5), pool_mode=mode)
    assert output.shape == (0, 2, 3, 3)
    assert not torch.autograd.grad(output.sum(), features)[0].any()


@pytest.mark.parametrize("roi", [[0.0, 5.0, 1.0, 4.0, 2.0], [0.0, 1.0, 5.0, 4.0, 2.0]])
def test_inside_out_rois_are_refused(roi: list[float]) -> None:
    with pytest.raises(ValueError, match=r"x2 >= x1 and y2 >= y1 in every RoI; got a negative size"):
        pool(torch.ones(1, 1, 5, 5), torch.tensor([roi]))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_an_roi_that_is_not_finite_has_features_of_nan(mode: str, broken: float) -> None:
    """A student that has diverged proposes such RoIs; its losses must get the chance to say so."""
    features = torch.ones(1, 1, 5, 5)
    rois = torch.tensor([[0.0, 1.0, 1.0, 4.0, 4.0], [0.0, broken, 1.0, 4.0, 2.0]])
    output = pool(features, rois, pool_mode=mode)
    assert output[1].isnan().all()
    assert torch.equal(output[:1], pool(features, rois[:1], pool_mode=mode))


def test_half_precision_features_are_pooled_in_single() -> None:
    features = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    rois = some_rois(6, 14).half()
    found = pool(features, rois)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, pool(features.float(), rois.float()).half())
