"""Losses against published reference values, closed forms and identities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.distill import LOSSES, PyramidSize, Scale, Targets, build_loss, rescale
from ikd.distill.functional import background_mask, channel_attention, foreground_mask, spatial_attention, standardise
from ikd.errors import BadInput

# The deterministic maps on which the authors' code was run: N=2, C=4, H=6, W=8, stride 8.
REFERENCE: dict[str, tuple[dict[str, Any], float]] = {
    "cwd": ({"weight": 1.0, "tau": 1.0}, 1.330324194),
    "pkd": ({"weight": 1.0}, 0.9445984906),
    "adversarial": ({"weight": 1.0}, 727.7072726),
    "fgd": ({}, 0.03129832804),
}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def maps() -> tuple[Tensor, Tensor]:
    n, c, h, w = torch.meshgrid(*(torch.arange(float(size)) for size in (2, 4, 6, 8)), indexing="ij")
    teacher = 2 * torch.sin(0.7 * n + 1.3 * c + 0.5 * h + 0.9 * w)
    student = 2 * torch.cos(0.4 * n + 0.6 * c + 1.1 * h + 0.2 * w)
    return student, teacher


def boxes(*per_image: list[list[float]]) -> Targets:
    tensors = [torch.tensor(rows, dtype=torch.float64).reshape(-1, 4) for rows in per_image]
    return Targets(tensors, [torch.zeros(len(rows), dtype=torch.long) for rows in tensors], (48, 64))


TARGETS = boxes([[8.0, 8, 40, 32], [20, 10, 30, 20]], [[0.0, 0, 63, 47]])
EMPTY = boxes([], [])


def inner(loss: Any) -> Any:
    """Return the loss inside its adapter."""
    return loss.loss


def identity_generator(loss: Any) -> None:
    """Make MGD's generator the identity on non-negative and negative values alike, by two shifted identity kernels."""
    for convolution, bias in ((loss.generator[0], 10.0), (loss.generator[2], -10.0)):
        torch.nn.init.dirac_(convolution.weight)
        torch.nn.init.constant_(convolution.bias, bias)


@pytest.mark.parametrize("name", REFERENCE)
def test_equals_the_authors_code(name: str) -> None:
    hyperparameters, expected = REFERENCE[name]
    loss = build_loss(name, 4, 4, **hyperparameters)
    assert loss(*maps(), TARGETS).item() == pytest.approx(expected, rel=1e-9)


def test_cwd_at_temperature_two() -> None:
    assert build_loss("cwd", 4, 4, weight=1.0, tau=2.0)(*maps(), TARGETS).item() == pytest.approx(1.696584694, rel=1e-9)


def test_fgd_terms_equal_the_authors_code() -> None:
    loss = build_loss("fgd", 4, 4, alpha=1.0, beta=1.0, gamma=1.0, lambda_=1.0)
    parts = {name: value.item() for name, value in inner(loss).parts(*maps(), TARGETS).items()}
    expected = {"foreground": 13.48785507, "background": 9.595925838, "attention": 18.74794739, "relation": 727.7072726}
    assert parts == pytest.approx(expected, rel=1e-9)


def test_fgd_two_stage_weights() -> None:
    loss = build_loss("fgd", 4, 4, alpha=5e-5, beta=2.5e-5, gamma=5e-5, lambda_=5e-7)
    assert loss(*maps(), TARGETS).item() == pytest.approx(0.002215541905, rel=1e-9)


def test_mgd_without_mask_and_with_plain_generator_equals_the_authors_code() -> None:
    loss = build_loss("mgd", 4, 4, alpha=1.0, mask_ratio=0.0)
    generator: Any = loss.loss.generator
    for convolution in (generator[0], generator[2]):
        torch.nn.init.dirac_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    assert loss(*maps(), TARGETS).item() == pytest.approx(551.2364262, rel=1e-9)


def test_mgd_masks_the_asked_share_of_positions() -> None:
    """With an identity generator the loss at T = 0 is the energy of the unmasked positions."""
    student = torch.ones(8, 4, 64, 64)
    for mask_ratio in (0.0, 0.25, 0.65, 1.0):
        loss = build_loss("mgd", 4, 4, alpha=1.0, mask_ratio=mask_ratio)
        identity_generator(loss.loss)
        kept = loss(student, torch.zeros_like(student), EMPTY).item() / (4 * 64 * 64)
        assert kept == pytest.approx(1 - mask_ratio, abs=0.015)


def test_masks_by_hand() -> None:
    foreground = foreground_mask(TARGETS, (6, 8))
    assert foreground.sum(dim=(1, 2)).tolist() == pytest.approx([1.55, 0.7619047619])
    assert (foreground > 0).sum(dim=(1, 2)).tolist() == [20, 48]
    assert background_mask(foreground).sum(dim=(1, 2)).tolist() == pytest.approx([1.0, 0.0])
    # the second box covers cells 2..4 x 1..3 of image 0: nine cells, and the smaller box wins inside the larger
    assert foreground[0, 2, 3].item() == pytest.approx(1 / 9)
    assert foreground[0, 1, 1].item() == pytest.approx(1 / 20)


def test_masks_equal_a_loop_over_boxes() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand((3, 7, 4), generator=generator) * torch.tensor([50.0, 40, 14, 8])
    per_image = [torch.cat([box[:, :2], box[:, :2] + box[:, 2:]], dim=1) for box in corners]
    targets = Targets(per_image, [torch.zeros(7)] * 3, (48, 64))
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
    assert foreground.sum() == 0
    assert background_mask(foreground).flatten().tolist() == pytest.approx([1 / 48] * 96)


def test_attention_averages_to_one_and_sharpens() -> None:
    _, teacher = maps()
    spatial, channel = spatial_attention(teacher, 0.5), channel_attention(teacher, 0.5)
    assert spatial.mean(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0])
    assert channel.mean(dim=1).tolist() == pytest.approx([1.0, 1.0])
    assert (spatial.max().item(), spatial.min().item()) == pytest.approx((1.612668380, 0.655808146))
    assert channel[0].tolist() == pytest.approx([1.0080494, 0.9986307, 0.9910412, 1.0022788], abs=1e-7)
    assert spatial_attention(teacher, 0.1).max() > spatial.max()


def test_pkd_is_one_minus_pearson() -> None:
    student, teacher = maps()
    flat = [value.transpose(0, 1).flatten(1) for value in (student, teacher)]
    pearson = torch.stack([torch.corrcoef(torch.stack([s, t]))[0, 1] for s, t in zip(*flat, strict=True)])
    count = 2 * 6 * 8
    expected = 3.0 * (1 - pearson).mean() * (count - 1) / count
    value = build_loss("pkd", 4, 4, weight=3.0)(student, teacher, EMPTY).item()
    assert value == pytest.approx(expected.item(), rel=1e-5)


def test_invariances() -> None:
    student, teacher = maps()
    gain, shift = torch.tensor([0.5, 1.0, 2.0, 3.0])[:, None, None], torch.tensor([1.0, -2.0, 0.0, 5.0])[:, None, None]
    pkd, cwd = build_loss("pkd", 4, 4), build_loss("cwd", 4, 4)
    moved = pkd(student * gain + shift, teacher, EMPTY).item()
    assert moved == pytest.approx(pkd(student, teacher, EMPTY).item(), rel=1e-5)
    assert cwd(student + shift, teacher, EMPTY).item() == pytest.approx(cwd(student, teacher, EMPTY).item())


def test_pkd_resizes_the_student() -> None:
    student, teacher = maps()
    assert torch.isfinite(build_loss("pkd", 4, 4)(student[:, :, ::2, ::2], teacher, EMPTY))


@pytest.mark.parametrize(("distance", "expected"), [("mse", 4.0 * 192), ("l1", 2.0 * 192), ("cwd", 0.0), ("pkd", 0.0)])
def test_adversarial_distances_by_hand(distance: str, expected: float) -> None:
    """A constant difference of 2 over C H W = 192 elements; cwd and pkd do not see a shift."""
    _, teacher = maps()
    loss = build_loss("adversarial", 4, 4, weight=1.0, distance=distance)
    assert loss(teacher + 2, teacher, EMPTY).item() == pytest.approx(expected, abs=1e-9)


class TestContract:
    """Holds for every loss by name; a new loss needs no new test."""

    @pytest.fixture(params=sorted(LOSSES))
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_zero_at_equality(self, name: str) -> None:
        _, teacher = maps()
        loss = build_loss(name, 4, 4, **({"mask_ratio": 0.0} if name == "mgd" else {}))
        if name == "mgd":
            identity_generator(loss.loss)
        assert loss(teacher.clone(), teacher, TARGETS).item() == pytest.approx(0.0, abs=1e-12)

    @pytest.mark.parametrize("targets", [TARGETS, EMPTY], ids=["boxes", "no boxes"])
    def test_gradient_reaches_the_student_alone(self, name: str, targets: Targets) -> None:
        student, teacher = (value.requires_grad_() for value in maps())
        value = build_loss(name, 4, 4)(student, teacher, targets)
        value.backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
        assert student.grad.abs().sum() > 0
        assert teacher.grad is None

    def test_float32_agrees_with_float64(self, name: str) -> None:
        torch.manual_seed(0)
        loss = build_loss(name, 4, 4, **({"mask_ratio": 0.0} if name == "mgd" else {}))
        exact = loss(*maps(), TARGETS).item()
        student, teacher = (value.float() for value in maps())
        single = Targets([rows.float() for rows in TARGETS.boxes], TARGETS.labels, TARGETS.input_size)
        assert loss.float()(student, teacher, single).item() == pytest.approx(exact, rel=1e-4)

    def test_unequal_channels_train_an_adapter(self, name: str) -> None:
        student, teacher = maps()
        loss = build_loss(name, 2, 4)
        loss(student[:, :2], teacher, TARGETS).backward()
        assert [tuple(parameter.shape) for parameter in loss.adapter.parameters()] == [(4, 2, 1, 1), (4,)]
        assert all(parameter.grad is not None for parameter in loss.adapter.parameters())

    def test_weight_is_linear(self, name: str) -> None:
        weights = {"fgd": ["alpha", "beta", "gamma", "lambda_"], "mgd": ["alpha"]}.get(name, ["weight"])
        values = []
        for factor in (1.0, 3.0):
            torch.manual_seed(0)
            loss = build_loss(name, 4, 4, **dict.fromkeys(weights, factor))
            values.append(loss(*maps(), TARGETS).item())
        assert values[1] == pytest.approx(3 * values[0])

    def test_unknown_hyperparameter_is_refused(self, name: str) -> None:
        with pytest.raises(BadInput, match=rf"loss {name}: has no hyperparameter 'wieght'; it has "):
            build_loss(name, 4, 4, wieght=1.0)


@pytest.mark.parametrize("name", ["adversarial", "fgd", "mgd"])
def test_mean_reduction_divides_the_sum(name: str) -> None:
    """Every summed part is divided by what it sums over: elements, cells or channels."""
    values = {}
    for reduction in ("published", "mean"):
        torch.manual_seed(0)
        off = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0, "lambda_": 1.0} if name == "fgd" else {}
        loss = build_loss(name, 4, 4, reduction=reduction, **off)
        torch.manual_seed(1)
        values[reduction] = loss(*maps(), TARGETS).item()
    assert values["mean"] == pytest.approx(values["published"] / (4 * 6 * 8))


@pytest.mark.parametrize("name", ["adversarial", "fgd", "mgd"])
def test_scale_keeps_the_strength_on_smaller_maps(name: str) -> None:
    """A constant difference on maps of a quarter of the cells has the same loss once the weight is rescaled."""
    strides = (8,)
    scale = rescale(PyramidSize(64, 64, 4), PyramidSize(32, 32, 4), strides)
    assert (scale.elements, scale.cells, scale.channels) == (4.0, 4.0, 1.0)
    off = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0, "lambda_": 1.0} if name == "fgd" else {}
    values = []
    for side, factor in ((8, Scale()), (4, scale)):
        loss = build_loss(name, 4, 4, scale=factor, **off, **({"mask_ratio": 0.0} if name == "mgd" else {}))
        if name == "mgd":
            identity_generator(loss.loss)
        teacher = torch.zeros(2, 4, side, side)
        values.append(loss(teacher + 1, teacher, EMPTY).item())
        assert inner(loss).effective_weight(4 * side * side) == pytest.approx(values[-1])
    assert values[0] == pytest.approx(values[1])


def test_published_effective_weights() -> None:
    """MGD 2e-5 acts like a mean of weight 93 on P3..P7 of a padded 1088x800 image with 256 channels."""
    elements = PyramidSize(800, 1088, 256).cells((8, 16, 32, 64, 128)) * 256
    assert elements == 18_134 * 256
    assert inner(build_loss("mgd", 256, 256)).effective_weight(elements) == pytest.approx(92.8, abs=0.1)


def test_unknown_loss_is_refused() -> None:
    with pytest.raises(BadInput, match="must be one of adversarial, cwd, fgd, mgd, pkd, but got 'fdg'"):
        build_loss("fdg", 4, 4)


def test_standardise() -> None:
    result = standardise(maps()[0])
    assert result.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.0] * 4, abs=1e-12)
    assert result.std(dim=(0, 2, 3)).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
