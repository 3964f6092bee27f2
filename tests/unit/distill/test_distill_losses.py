"""Every loss against published reference values, closed forms and one contract."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.distill import LOSSES, RECONSTRUCTIONS, Anchors, PyramidSize, Scale, Targets, build_loss, rescale, takes
from ikd.errors import BadInput
from tests.unit.distill.maps import EMPTY, MANY, ROWS, TARGETS, boxes, make_identity, maps


@dataclass(frozen=True)
class Case:
    """What the contract needs to know of a loss.

    Attributes:
        value: on the reference maps with every weight 1, `plain` settings and identity modules.
        weights: the weights, in which the loss is linear.
        changes: each other setting with a value that must change the loss.
        plain: settings under which the loss has no masks and no gate.
        additive: whether the loss of a batch is the mean over its images.
        whole_gradient: settings under which no part that depends on the student is taken as constant.
        by_boxes: whether the loss is 0 where there are no boxes.
        projects: whether the student goes through layers that are trained for equal channels too.
    """

    value: float
    weights: tuple[str, ...] = ("weight",)
    changes: Mapping[str, Any] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)
    additive: bool = True
    whole_gradient: Mapping[str, Any] = field(default_factory=dict)
    by_boxes: bool = False
    projects: bool = False


GENERATED = 551.2364262  # the authors' MGD without a mask, its generator two identity kernels
NO_MASKS = {"spatial_mask_ratio": 0.0, "channel_mask_ratio": 0.0, "se": False}
DUAL = {"spatial_mask_ratio": 0.3, "channel_mask_ratio": 0.5, "se": False, "reduction": "mean"}

BASE = torch.tensor([[-12.0, -12.0, 12.0, 12.0]])  # one anchor a cell
IMITATED = 7.247733204884744  # by the loops of test_imitation_losses: 75 cells
SCORED = 57.13542858374982  # 4 KL of sigmoids at temperature 2, written out, over 3 boxes
POOLED = 30.098568420651514  # by the loops of test_imitation_losses
ATTENDED = 1.596645245342565  # likewise
SURE = 2.8672189696037806  # written out over the cells, behind the ReLU

CASES = {
    "adversarial": Case(727.7072726, changes={"distance": "l1", "reduction": "mean"}),
    "amd": Case(
        GENERATED,
        weights=("alpha",),
        changes={"mask_ratio": 0.3, "se_side": "both", "reduction": "mean"},
        plain={"mask_ratio": 0.0, "se_side": "none"},
    ),
    "crosskd": Case(145.6787298 / 3, weights=("w_cls",), changes={"beta": 2.0, "reduction": "mean"}, additive=False),
    "cwd": Case(1.330324194, changes={"tau": 2.0, "normalise": "batch"}),
    "defeat": Case(
        1.747689693 + 2.252997107,  # inside and outside boxes
        weights=("w_object", "w_background"),
        changes={"level": 1, "levels": (0, 1)},
        additive=False,
    ),
    "dfmsd": Case(GENERATED, weights=("alpha", "beta"), changes=DUAL, plain=NO_MASKS),
    "dmkd": Case(GENERATED, weights=("alpha",), changes=DUAL, plain=NO_MASKS),
    "fbkd": Case(
        38.91311242 + 0.2492462666 + 11.11076861 + math.sqrt(2 * 727.7072726),  # feature, channel, spatial, relation
        weights=("w_feature", "w_attention"),
        changes={"temperature": 0.2, "channel_mask": False, "level": 0, "reduction": "mean"},
        plain={"temperature": 0.5, "channel_mask": False},
        additive=False,
        whole_gradient={"temperature": 1e9},  # its masks are then 1
    ),
    "fgd": Case(
        13.48785507 + 9.595925838 + 18.74794739 + 727.7072726,  # foreground, background, attention, relation
        weights=("alpha", "beta", "gamma", "lambda_"),
        changes={"temperature": 0.8, "reduction": "mean"},
    ),
    "fgfi": Case(
        IMITATED,
        changes={"psi": 0.2, "relu": False, "reduction": "mean", "anchors": Anchors(BASE, 8.0)},
        plain={"relu": False},
        additive=False,
        by_boxes=True,
    ),
    "fitnet": Case(3.790142045),
    "frs": Case(15.18631669, weights=("w_feature",), changes={"reduction": "mean"}, additive=False),
    "gid": Case(
        POOLED,
        weights=("w_feature", "w_relation"),
        changes={"reduction": "mean"},
        additive=False,
        by_boxes=True,
    ),
    "icd": Case(ATTENDED, changes={"dims": 32, "heads": 4}, plain={"dims": 4, "heads": 2}, by_boxes=True),
    "mgd": Case(
        GENERATED, weights=("alpha",), changes={"mask_ratio": 0.3, "reduction": "mean"}, plain={"mask_ratio": 0.0}
    ),
    "nad": Case(0.001446683541, weights=("beta",), changes={"p": 1.5}),
    "pkd": Case(0.9445984906, additive=False),
    "rkd": Case(
        0.009004800148927804,  # distances and angles of the three boxes, written out over their cells
        weights=("w_distance", "w_angle"),
        changes={"normalise": False, "most": 3},
        additive=False,
        by_boxes=True,
    ),
    "rmpfi": Case(
        0.7924732742,
        weights=("w_imitation",),
        changes={"squared": True, "levels": (0, 1)},
    ),
    "sl2": Case(SURE, additive=False, projects=True),
    "vkd": Case(
        SCORED,
        changes={"temperature": 4.0, "class_reduction": "mean", "reduction": "mean"},
        plain={"temperature": 2.0},
        additive=False,
    ),
}
"""One entry per loss; a loss without one fails the contract."""

OUT_OF_RANGE: dict[str, tuple[object, ...]] = {
    "anchors": ("ATSS",),
    "channel_mask": (1,),
    "class_reduction": ("max",),
    "distance": ("cosine",),
    "dims": (0, 6, 8.0),
    "heads": (0, 1.5, 3),
    "level": (-1, 1.5),
    "levels": ((), (1, 0), (0, 0), (0.5,)),
    "relu": (1,),
    "squared": ("yes",),
    "most": (2, 3.5),
    "normalise": (1,),
    "reduction": ("sum",),
    "se": ("yes",),
    "se_side": ("teacher",),
    **dict.fromkeys(("tau", "temperature"), (0.0, -1.0, math.inf, "warm")),
    **dict.fromkeys(("psi", "mask_ratio", "spatial_mask_ratio", "channel_mask_ratio"), (-0.1, 1.5, math.nan)),
}
"""By hyperparameter; a weight's are -1 and NaN."""


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def ones(name: str, factor: float = 1.0) -> dict[str, Any]:
    """Return every weight of a loss as `factor`."""
    return dict.fromkeys(CASES[name].weights, factor)


def value(
    name: str, settings: Mapping[str, Any], targets: Targets = TARGETS, pair: tuple[Tensor, Tensor] | None = None
) -> float:
    """Return the loss with fixed random modules, none of them zero."""
    torch.manual_seed(0)
    loss = build_loss(name, 4, 4, **settings)
    for parameter in loss.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.manual_seed(1)
    return loss(*(pair or maps()), targets).item()


class TestContract:
    """Holds for every loss by name; a new loss adds an entry to `CASES`."""

    @pytest.fixture(params=sorted(LOSSES))
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def case(self, name: str) -> Case:
        return CASES[name]

    def test_equals_the_reference_value(self, name: str, case: Case) -> None:
        loss = build_loss(name, 4, 4, **ones(name), **case.plain)
        make_identity(loss)
        assert loss(*maps(), TARGETS).item() == pytest.approx(case.value, rel=1e-8)

    def test_zero_at_equality(self, name: str, case: Case) -> None:
        _, teacher = maps()
        loss = build_loss(name, 4, 4, **case.plain)
        make_identity(loss, shift=10.0)
        assert loss(teacher.clone(), teacher, TARGETS).item() == pytest.approx(0.0, abs=1e-12)

    @pytest.mark.parametrize("targets", [TARGETS, EMPTY], ids=["boxes", "no boxes"])
    def test_gradient_reaches_the_student_alone(self, name: str, case: Case, targets: Targets) -> None:
        student, teacher = (side.requires_grad_() for side in maps())
        build_loss(name, 4, 4)(student, teacher, targets).backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
        assert (student.grad.abs().sum() > 0) == (not case.by_boxes or targets is TARGETS)
        assert teacher.grad is None

    def test_gradient_is_finite_at_equality(self, name: str, case: Case) -> None:
        """Also on a single cell, where statistics over cells have no spread."""
        for teacher, targets in ((maps()[1], TARGETS), (maps()[1][:1, :, :1, :1], boxes([]))):
            student = teacher.clone().requires_grad_()
            loss = build_loss(name, 4, 4, **case.plain)
            make_identity(loss, shift=10.0)
            loss(student, teacher, targets).backward()
            assert student.grad is not None
            assert torch.isfinite(student.grad).all()

    def test_gradient_equals_finite_differences(self, name: str, case: Case) -> None:
        torch.manual_seed(0)
        loss = build_loss(name, 4, 4, **(ones(name) | dict(case.plain) | dict(case.whole_gradient)))
        for parameter in loss.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        student, teacher = (side[:, :, ::2, ::3].clone() for side in maps())
        student.requires_grad_()
        told = replace(TARGETS, importance=torch.rand(student[:, 0].shape))  # what heads say is constant
        assert torch.autograd.gradcheck(lambda side: loss(side, teacher, told), student, fast_mode=True)

    def test_every_module_is_trained(self, name: str) -> None:
        torch.manual_seed(0)
        loss = build_loss(name, 4, 4)
        for parameter in loss.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        student, teacher = maps()
        loss(student.requires_grad_(), teacher, TARGETS).backward()
        for parameter in loss.parameters():
            assert (parameter.grad is not None) == parameter.requires_grad
            assert parameter.grad is None or torch.isfinite(parameter.grad).all()

    def test_float32_agrees_with_float64(self, name: str) -> None:
        torch.manual_seed(0)
        loss = build_loss(name, 4, 4)
        torch.manual_seed(1)
        exact = loss(*maps(), TARGETS).item()
        student, teacher = (side.float() for side in maps())
        single = Targets([rows.float() for rows in TARGETS.boxes], TARGETS.labels, TARGETS.input_size)
        torch.manual_seed(1)  # random masks are drawn in the default type both times
        assert loss.float()(student, teacher, single).item() == pytest.approx(exact, rel=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("student_channels", [4, 2])
    def test_mixed_precision(self, name: str, case: Case, dtype: torch.dtype, student_channels: int) -> None:
        student, teacher = (side.to(dtype) for side in maps())
        student = student[:, :student_channels].clone().requires_grad_()
        torch.manual_seed(0)
        loss = build_loss(name, student_channels, 4).float()
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = loss(student, teacher, TARGETS)
        mixed.backward()
        torch.manual_seed(1)
        full = loss(student.detach().float(), teacher.float(), TARGETS).item()
        assert mixed.dtype == torch.float32
        assert mixed.item() == pytest.approx(full, rel=1e-6 if student_channels == 4 and not case.projects else 0.05)
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
        assert student.grad.abs().sum() > 0

    def test_a_batch_is_the_mean_of_its_images(self, name: str, case: Case) -> None:
        """Where the reduction is additive; elsewhere the docstring warns of it."""
        whole = value(name, case.plain)
        alone = [
            value(name, case.plain, boxes(rows), (student, teacher))
            for student, teacher, rows in zip(*(side[:, None] for side in maps()), ROWS, strict=True)
        ]
        assert (sum(alone) / 2 == pytest.approx(whole, rel=1e-9)) is case.additive

    def test_unequal_channels_train_an_adapter(self, name: str) -> None:
        student, teacher = maps()
        loss = build_loss(name, 2, 4)
        loss(student[:, :2], teacher, TARGETS).backward()
        assert [tuple(parameter.shape) for parameter in loss.adapter.parameters()][:2] == [(4, 2, 1, 1), (4,)]
        assert all(parameter.grad is not None for parameter in loss.adapter.parameters())

    def test_equal_channels_have_no_adapter(self, name: str, case: Case) -> None:
        assert bool(list(build_loss(name, 4, 4).adapter.parameters())) == case.projects

    def test_weights_are_linear(self, name: str) -> None:
        assert value(name, ones(name, 3.0)) == pytest.approx(3 * value(name, ones(name)))

    def test_every_hyperparameter_acts(self, name: str, case: Case) -> None:
        half = replace(MANY, enhanced=torch.tensor([True, False]))
        usual = value(name, {}, half)
        assert usual == value(name, {}, half)
        for key in case.weights:
            assert value(name, {key: 2.0}, half) != pytest.approx(usual, rel=1e-6), key
        for key, other in case.changes.items():
            assert value(name, {key: other}, half) != pytest.approx(usual, rel=1e-6), key

    def test_the_case_names_every_hyperparameter(self, name: str, case: Case) -> None:
        known = set(inspect.signature(LOSSES[name]).parameters) - {"channels", "scale"}
        assert known == {*case.weights, *case.changes}

    def test_unknown_hyperparameter_is_refused(self, name: str) -> None:
        with pytest.raises(BadInput, match=rf"loss {name}: has no hyperparameter 'wieght'; it has "):
            build_loss(name, 4, 4, wieght=1.0)

    def test_values_out_of_range_are_refused(self, name: str, case: Case) -> None:
        for key in (*case.weights, *case.changes):
            for bad in OUT_OF_RANGE.get(key, (-1.0, math.nan)):
                with pytest.raises(
                    BadInput, match=rf"^loss {name}: {key}: must be .+, but got {re.escape(repr(bad))}$"
                ):
                    build_loss(name, 4, 4, **{key: bad})

    def test_what_can_be_rescaled_can_be_a_mean(self, name: str) -> None:
        assert takes(name, "reduction") or not takes(name, "scale")


def test_every_loss_has_a_case() -> None:
    assert CASES.keys() == LOSSES.keys()


def only(name: str) -> dict[str, Any]:
    """Keep of a loss the part that is summed over elements, with weight 1."""
    rest = {"fgd": {"alpha": 0.0, "beta": 0.0, "gamma": 0.0, "lambda_": 1.0}, "fbkd": {"w_attention": 0.0}}
    return ones(name) | rest.get(name, {}) | dict(CASES[name].plain)


SUMMED = sorted(name for name in LOSSES if takes(name, "scale"))


@pytest.mark.parametrize("name", SUMMED)
def test_mean_reduction_divides_the_sum(name: str) -> None:
    """A sum over elements by their number in one image; FBKD's norm by the root of that of the whole batch."""
    divisor = math.sqrt(2 * 4 * 6 * 8) if name == "fbkd" else 4 * 6 * 8
    mean, published = (value(name, only(name) | {"reduction": reduction}) for reduction in ("mean", "published"))
    assert mean == pytest.approx(published / divisor)


@pytest.mark.parametrize("name", SUMMED)
def test_scale_keeps_the_strength_on_smaller_maps(name: str) -> None:
    """A constant difference on maps of a quarter of the cells has the same loss once the weight is rescaled."""
    scale = rescale(PyramidSize(64, 64, 4), PyramidSize(32, 32, 4), (8,), whole=(8,))
    assert (scale.elements, scale.cells, scale.channels) == (4.0, 4.0, 1.0)
    values = []
    for side, factor in ((8, Scale()), (4, scale)):
        loss = build_loss(name, 4, 4, scale=factor, **only(name))
        make_identity(loss, shift=10.0)
        teacher = torch.zeros(2, 4, side, side)
        values.append(loss(teacher + 1, teacher, EMPTY).item())
        if name != "fbkd":  # a root has no weight per element
            inner: Any = loss.loss
            weight = inner.effective_weight(4 * side * side)
            assert (weight if isinstance(weight, float) else max(weight.values())) == pytest.approx(values[-1])
    assert values[0] == pytest.approx(values[1])


def test_published_effective_weights() -> None:
    """MGD 2e-5 acts like a mean of weight 93 on P3..P7 of a padded 1088x800 image with 256 channels."""
    elements = PyramidSize(800, 1088, 256).cells((8, 16, 32, 64, 128)) * 256
    assert elements == 18_134 * 256
    mgd: Any = build_loss("mgd", 256, 256).loss
    assert mgd.effective_weight(elements) == pytest.approx(92.8, abs=0.1)


def test_unknown_loss_is_refused() -> None:
    with pytest.raises(BadInput, match=r"must be one of adversarial, amd, crosskd, cwd, .*, but got 'fdg'"):
        build_loss("fdg", 4, 4)


def test_reconstructions_say_so() -> None:
    assert {name for name, cls in LOSSES.items() if "RECONSTRUCTION" in str(cls.__doc__)} == RECONSTRUCTIONS
    assert all("Inferred by us" in str(LOSSES[name].__doc__) for name in RECONSTRUCTIONS)


@pytest.mark.parametrize(("tau", "value"), [(1.0, 0.7791006574), (2.0, 0.9018531699)])
def test_cwd_behind_batch_norms(tau: float, value: float) -> None:
    loss = build_loss("cwd", 4, 4, weight=1.0, tau=tau, normalise="batch").double()
    assert isinstance(loss.adapter, torch.nn.Conv2d)
    assert loss.adapter.bias is None
    with torch.no_grad():
        loss.adapter.weight.copy_(torch.eye(4)[..., None, None])
    student, teacher = maps()
    assert loss(student, teacher, TARGETS).item() == pytest.approx(value, rel=1e-9)
    assert loss(3 * student + 1, teacher / 2 - 5, TARGETS).item() == pytest.approx(value, rel=1e-4), "up to eps"
    single = loss(student[:1, :, :1, :1], teacher[:1, :, :1, :1], TARGETS)
    assert single.item() == 0


def test_cwd_at_temperature_two() -> None:
    assert build_loss("cwd", 4, 4, weight=1.0, tau=2.0)(*maps(), TARGETS).item() == pytest.approx(1.696584694, rel=1e-9)


def test_pkd_is_one_minus_pearson() -> None:
    student, teacher = maps()
    flat = [side.transpose(0, 1).flatten(1) for side in (student, teacher)]
    pearson = torch.stack([torch.corrcoef(torch.stack([s, t]))[0, 1] for s, t in zip(*flat, strict=True)])
    count = 2 * 6 * 8
    expected = 3.0 * (1 - pearson).mean() * (count - 1) / count
    got = build_loss("pkd", 4, 4, weight=3.0)(student, teacher, EMPTY).item()
    assert got == pytest.approx(expected.item(), rel=1e-5)


def test_invariances() -> None:
    student, teacher = maps()
    gain, shift = torch.tensor([0.5, 1.0, 2.0, 3.0])[:, None, None], torch.tensor([1.0, -2.0, 0.0, 5.0])[:, None, None]
    pkd, cwd = build_loss("pkd", 4, 4), build_loss("cwd", 4, 4)
    moved = pkd(student * gain + shift, teacher, EMPTY).item()
    assert moved == pytest.approx(pkd(student, teacher, EMPTY).item(), rel=1e-5)
    assert cwd(student + shift, teacher, EMPTY).item() == pytest.approx(cwd(student, teacher, EMPTY).item())


@pytest.mark.parametrize(("distance", "expected"), [("mse", 4.0 * 192), ("l1", 2.0 * 192), ("cwd", 0.0), ("pkd", 0.0)])
def test_adversarial_distances_by_hand(distance: str, expected: float) -> None:
    """A constant difference of 2 over C H W = 192 elements; cwd and pkd do not see a shift."""
    _, teacher = maps()
    loss = build_loss("adversarial", 4, 4, weight=1.0, distance=distance)
    assert loss(teacher + 2, teacher, EMPTY).item() == pytest.approx(expected, abs=1e-9)
