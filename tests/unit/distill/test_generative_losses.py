"""Masks, gates and fusion of the masked generative losses, and FBKD's terms, against closed forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.distill import build_loss
from ikd.distill.functional import channel_attention, spatial_attention
from ikd.distill.losses.fbkd import NonLocal
from ikd.distill.losses.masking import ChannelGate, hide_cells, hide_channels
from tests.unit.distill.maps import EMPTY, TARGETS, make_identity, maps


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def identity(name: str, **settings: Any) -> Any:
    """Return a loss of weight 1 whose generators are the identity."""
    loss = build_loss(name, 4, 4, **({"alpha": 1.0} | settings))
    make_identity(loss, shift=10.0)
    return loss


def value(loss: Any, student: Tensor, teacher: Tensor) -> float:
    return float(loss(student, teacher, EMPTY).item())


def test_mgd_masks_the_asked_share_of_positions() -> None:
    """With an identity generator the loss at T = 0 is the energy of the unmasked positions."""
    student = torch.ones(8, 4, 64, 64)
    for mask_ratio in (0.0, 0.25, 0.65, 1.0):
        kept = value(identity("mgd", mask_ratio=mask_ratio), student, torch.zeros_like(student)) / (4 * 64 * 64)
        assert kept == pytest.approx(1 - mask_ratio, abs=0.015)


@pytest.mark.parametrize(("ratio", "cells", "channels"), [(0.0, 0, 0), (0.29, 13, 1), (0.5, 24, 2), (1.0, 48, 4)])
def test_the_most_attended_places_are_hidden(ratio: float, cells: int, channels: int) -> None:
    _, teacher = maps()
    for mask, attention, count in (
        (hide_cells(teacher, ratio), spatial_attention(teacher, 0.5), cells),
        (hide_channels(teacher, ratio), channel_attention(teacher, 0.5), channels),
    ):
        rows, kept = attention.flatten(1), mask.flatten(1).bool()
        assert ((mask == 0) | (mask == 1)).all()
        assert (~kept).sum(dim=1).tolist() == [count, count]
        if 0 < ratio < 1:
            assert all(row[~keep].min() >= row[keep].max() for row, keep in zip(rows, kept, strict=True))


def test_the_count_of_hidden_places_is_exact() -> None:
    """Ties do not add places, 0.29 of 100 is 29 in spite of rounding, and one cell stays below a ratio of 1."""
    assert (hide_cells(torch.ones(1, 2, 10, 10), 0.29) == 0).sum() == 29
    assert (hide_cells(torch.ones(1, 2, 1, 1), 0.99) == 0).sum() == 0


def test_the_gate_by_hand() -> None:
    gate = ChannelGate(4)
    features = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 2, 3)
    for layer, weight in ((gate.squeeze, 0.5), (gate.excite, -2.0)):
        torch.nn.init.constant_(layer.weight, weight)
        torch.nn.init.constant_(layer.bias, 1.0)
    # squeeze: 0.5 (0+1+2+3) + 1 = 4, excite: -2 * 4 + 1 = -7
    assert gate(features).flatten().tolist() == pytest.approx([torch.tensor(-7.0).sigmoid().item()] * 4)
    assert gate.squeeze.out_features == 1
    assert ChannelGate(256).squeeze.out_features == 16


def test_amd_restores_what_it_hides() -> None:
    """Without a gate and with S = T, an identity generator leaves the energy of the hidden cells."""
    _, teacher = maps()
    energy = teacher.square().sum(dim=1).flatten(1)
    order = spatial_attention(teacher, 0.5).flatten(1).argsort(dim=1, descending=True)
    hidden = energy.gather(1, order[:, : int(0.65 * 48)]).sum() / 2
    assert value(identity("amd", se_side="none"), teacher, teacher) == pytest.approx(hidden.item())


@pytest.mark.parametrize(
    ("side", "at_equality", "at_zero"), [("none", 0.0, 1.0), ("student", 0.36, 1.0), ("both", 0.0, 0.16)]
)
def test_amd_gate_sides(side: str, at_equality: float, at_zero: float) -> None:
    """A constant gate c = 0.4: the energy of T times (1 - c)^2 at S = T and, the teacher gated too, c^2 at S = 0."""
    _, teacher = maps()
    loss = identity("amd", mask_ratio=0.0, se_side=side)
    if side != "none":
        torch.nn.init.zeros_(loss.loss.gate.excite.weight)
        torch.nn.init.constant_(loss.loss.gate.excite.bias, torch.tensor(0.4).logit().item())
    energy = teacher.square().sum().item() / 2
    assert value(loss, teacher, teacher) == pytest.approx(at_equality * energy, abs=1e-9)
    assert value(loss, torch.zeros_like(teacher), teacher) == pytest.approx(at_zero * energy)


def test_dmkd_hides_cells_in_one_branch_and_channels_in_the_other() -> None:
    """With S = T and identity generators half of T is missing where one mask hides, all where both do."""
    _, teacher = maps()
    loss = identity("dmkd", spatial_mask_ratio=0.5, channel_mask_ratio=0.25, se=False)
    missing = (1 - hide_cells(teacher, 0.5)) / 2 + (1 - hide_channels(teacher, 0.25)) / 2
    assert set(missing.flatten().tolist()) == {0.0, 0.5, 1.0}
    assert value(loss, teacher, teacher) == pytest.approx((missing * teacher).square().sum().item() / 2)


def test_dmkd_gate_acts_on_the_channel_branch() -> None:
    """A gate of 0.4 there, no masks, S = T: 0.5 + 0.5 * 0.4 of T is restored."""
    _, teacher = maps()
    loss = identity("dmkd", spatial_mask_ratio=0.0, channel_mask_ratio=0.0)
    torch.nn.init.zeros_(loss.loss.restore.gate.excite.weight)
    torch.nn.init.constant_(loss.loss.restore.gate.excite.bias, torch.tensor(0.4).logit().item())
    assert value(loss, teacher, teacher) == pytest.approx(0.3**2 * teacher.square().sum().item() / 2)


def test_simpler_losses_are_special_cases() -> None:
    """DMKD fused to its cells alone is AMD without a gate; AMD that hides nothing is MGD that hides nothing."""
    student, teacher = maps()
    dmkd: Any = build_loss("dmkd", 4, 4).loss
    amd: Any = build_loss("amd", 4, 4, se_side="none").loss
    amd.generator.load_state_dict(dmkd.restore.spatial_generator.state_dict())
    torch.nn.init.constant_(dmkd.restore.fusion[:1].data, 100.0)
    assert value(dmkd, student, teacher) == pytest.approx(value(amd, student, teacher))
    mgd: Any = build_loss("mgd", 4, 4, mask_ratio=0.0).loss
    mgd.generator.load_state_dict(amd.generator.state_dict())
    amd.mask_ratio = 0.0
    assert value(mgd, student, teacher) == pytest.approx(value(amd, student, teacher))


def test_dfmsd_weighs_enhanced_images_with_beta() -> None:
    student, teacher = maps()
    dfmsd: Any = build_loss("dfmsd", 4, 4, alpha=3.0, beta=7.0).loss
    dmkd: Any = build_loss("dmkd", 4, 4, alpha=1.0).loss
    dmkd.load_state_dict(dfmsd.state_dict())
    first, second = (value(dmkd, student[i : i + 1], teacher[i : i + 1]) for i in (0, 1))
    for enhanced, expected in (
        (None, 3 * first + 3 * second),
        ([False, False], 3 * first + 3 * second),
        ([True, False], 7 * first + 3 * second),
        ([True, True], 7 * first + 7 * second),
    ):
        flags = None if enhanced is None else torch.tensor(enhanced)
        got = dfmsd(student, teacher, replace(TARGETS, enhanced=flags)).item()
        assert got == pytest.approx(expected / 2), enhanced


@pytest.mark.parametrize("enhanced", [None, [False, False], [True, False]])
def test_dmkd_is_dfmsd_with_one_weight(enhanced: list[bool] | None) -> None:
    targets = replace(TARGETS, enhanced=None if enhanced is None else torch.tensor(enhanced))
    torch.manual_seed(0)
    dmkd = build_loss("dmkd", 4, 4, alpha=3.0)
    dfmsd = build_loss("dfmsd", 4, 4, alpha=3.0, beta=3.0)
    assert dfmsd.state_dict().keys() == dmkd.state_dict().keys()
    dfmsd.load_state_dict(dmkd.state_dict())
    assert dmkd(*maps(), targets).item() == dfmsd(*maps(), targets).item()
    assert dmkd(*maps(), targets).item() == dmkd(*maps(), EMPTY).item()


FBKD = {"w_feature": 1.0, "w_attention": 1.0}


@pytest.mark.parametrize(
    ("settings", "feature"),
    [
        ({"temperature": 0.5, "channel_mask": False}, 38.91311242),
        ({"temperature": 0.1, "channel_mask": True}, 40.80502501),
    ],
    ids=["two-stage", "one-stage"],
)
def test_fbkd_terms_equal_the_reference(settings: dict[str, Any], feature: float) -> None:
    fbkd: Any = build_loss("fbkd", 4, 4, **FBKD, **settings).loss
    make_identity(fbkd)
    parts = {name: value.item() for name, value in fbkd.parts(*maps()).items()}
    relation = torch.dist(*maps()).item()  # non-local blocks start as the identity
    expected = {"feature": feature, "channel": 0.2492462666, "spatial": 11.11076861, "relation": relation}
    assert parts == pytest.approx(expected, rel=1e-8)


def plain_non_local(block: NonLocal, features: Tensor) -> Tensor:
    """Every query with every pooled key, cells x keys written out."""
    height, width = features.shape[2:]
    pool = torch.nn.MaxPool2d((min(block.stride, height), min(block.stride, width)))
    query = block.query(features).flatten(2)
    key, value = (pool(layer(features)).flatten(2) for layer in (block.key, block.value))
    pairs = torch.einsum("nip,nik->npk", query, key) / key.shape[2]
    mixed = torch.einsum("npk,nik->nip", pairs, value)
    weight = block.out.weight[:, :, 0, 0]
    assert block.out.bias is not None
    change = torch.einsum("ci,nip->ncp", weight, mixed) + block.out.bias[:, None]
    return features + change.view_as(features)


@pytest.mark.parametrize("size", [(6, 8), (9, 7), (1, 5), (1, 1)])
@pytest.mark.parametrize("stride", [8, 4, 2])
def test_non_local_block(size: tuple[int, int], stride: int) -> None:
    torch.manual_seed(0)
    block = NonLocal(4, 3, stride)
    features = torch.randn(2, 4, *size)
    assert torch.equal(block(features), features)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    assert torch.allclose(block(features), plain_non_local(block, features))


def test_fbkd_relation_term() -> None:
    torch.manual_seed(0)
    fbkd: Any = build_loss("fbkd", 4, 4, **FBKD).loss
    for parameter in fbkd.parameters():
        torch.nn.init.normal_(parameter)
    student, teacher = maps()
    own = plain_non_local(fbkd.student_relation, student)
    adapted = F.conv2d(own, fbkd.relation_adapter.weight, fbkd.relation_adapter.bias)
    expected = torch.dist(adapted, plain_non_local(fbkd.teacher_relation, teacher))
    assert fbkd.parts(student, teacher)["relation"].item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize(("level", "inner", "stride"), [(0, 64, 8), (1, 64, 4), (2, 128, 2), (4, 128, 2)])
def test_fbkd_sizes_by_level(level: int, inner: int, stride: int) -> None:
    wide: Any = build_loss("fbkd", 256, 256, level=level).loss
    for block in (wide.student_relation, wide.teacher_relation):
        assert (block.query.out_channels, block.stride) == (inner, stride)
    narrow: Any = build_loss("fbkd", 32, 32, level=level).loss
    assert narrow.student_relation.query.out_channels == 32
