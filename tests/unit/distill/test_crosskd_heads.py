"""CrossKD between each kind of dense head, and its connector where the widths differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from torch import Tensor

from ikd.detectors import freeze, weights_sha256
from ikd.distill.crosskd import CrossHeads, check_heads
from ikd.distill.crosskd.rows import CROSSED
from ikd.distill.crosskd.towers import tower_features
from ikd.distill.detector import DistillDetector
from ikd.distill.terms import Terms
from ikd.distill.views.boxes import giou_distance
from ikd.distill.views.heads import ROWS
from ikd.errors import BadInput
from tests.marks import some
from tests.unit.distill.dense import HEADS, detector_of
from tests.unit.distill.heads import BOXES, batch, hyperparameters, losses_of

pytestmark = pytest.mark.filterwarnings("ignore:DeprecationWarning. pos_bboxes")  # DDOD asks its sampler so
POSITIONS = {"TOODHead": 0}
"""Where features cross, elsewhere than after one convolution."""


@pytest.fixture(autouse=True)
def _late() -> None:
    """Be past the first epochs, in which TOOD assigns as ATSS."""
    MessageHub.get_current_instance().update_info("epoch", 100)


def crossed(head: str, student: Any, teacher: Any, **settings: Any) -> CrossHeads:
    return CrossHeads(student, teacher, **hyperparameters(**{"position": POSITIONS.get(head, 1)} | settings))


def total(found: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(found.values())).sum()


def convolutions(cross: CrossHeads) -> list[torch.nn.Conv2d]:
    return [one for one in cross.connectors or () if isinstance(one, torch.nn.Conv2d)]


def positions(head: str) -> Sequence[int]:
    return range(CROSSED[head].depth(detector_of(head).bbox_head) + 1)


def test_every_row_is_tried() -> None:
    assert set(CROSSED) == set(HEADS)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("aligned", some([True, False], 1))
def test_a_teacher_crossed_with_itself_says_the_same(head: str, aligned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way through its upper layers is exact; of the scale only what the published eps takes is lost."""
    if not aligned:
        monkeypatch.setattr("ikd.distill.crosskd.heads.align_scale", lambda student, teacher: student.clone())
    teacher: Any = freeze(detector_of(head))
    features = teacher.extract_feat(batch(BOXES)[0])
    for position in positions(head):
        cross = crossed(head, teacher, teacher, position=position)
        with tower_features(teacher.bbox_head, CROSSED[head], position) as seen:
            teacher.bbox_head(features)
        for ours, theirs in zip(*cross._predictions(seen, features), strict=True):
            for one, other in zip(ours, theirs, strict=True):
                apart = float((one - other).abs().max()) / max(float(other.abs().max()), 1.0)
                assert apart < (1e-3 if aligned else 5e-6), position


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("width", some([64, 32], 1))
def test_gradient_reaches_what_is_below_and_the_connector(head: str, width: int) -> None:
    student, teacher = detector_of(head, 1, width).train(), freeze(detector_of(head, 2))
    before = weights_sha256(teacher)
    cross = crossed(head, student, teacher)
    found = losses_of(cross, student, teacher)
    torch.autograd.backward(total(found))
    assert all(torch.isfinite(one) and one.item() > 0 for one in found.values())
    assert ("loss_crosskd_objectness" in found) == (head == "YOLOXHead")
    assert ("loss_crosskd_centerness" in found) == (head in ("ATSSHead", "DDODHead", "PAAHead"))
    row, position = CROSSED[head], cross.position
    below = {
        id(one)
        for tower in row.towers
        for convs in row.of_levels(student.bbox_head, tower)
        for layer in list(convs)[:position]
        for one in layer.parameters()
    }
    for name, parameter in student.named_parameters():
        if name.startswith("backbone.") and parameter.grad is not None:
            assert torch.isfinite(parameter.grad).all()
        if name.startswith("bbox_head.") and id(parameter) not in below:
            assert parameter.grad is None, name
    grads = [one.grad for one in student.backbone.parameters() if one.grad is not None]
    assert sum(float(one.abs().sum()) for one in grads) > 0
    assert all(one.grad is None for one in teacher.parameters())
    assert weights_sha256(teacher) == before
    assert (cross.connectors is None) == (width == 32)
    for connector in convolutions(cross):
        assert connector.weight.shape == (32, width, 1, 1)
        assert connector.weight.grad is not None
        assert float(connector.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("head", HEADS)
def test_without_boxes(head: str) -> None:
    student, teacher = detector_of(head, 1, 64).train(), freeze(detector_of(head, 2))
    found = losses_of(crossed(head, student, teacher), student, teacher, [[], []])
    torch.autograd.backward(total(found))
    assert all(torch.isfinite(one) for one in found.values())
    assert all(torch.isfinite(one.grad).all() for one in student.parameters() if one.grad is not None)


@pytest.mark.parametrize("head", HEADS)
def test_capture_leaves_the_heads_as_they_were(head: str) -> None:
    student, teacher = detector_of(head, 1).train(), freeze(detector_of(head, 2))
    losses_of(crossed(head, student, teacher), student, teacher)
    for one in (student, teacher):
        assert ROWS[head].targets not in vars(one.bbox_head)
    for detector in (student, teacher):
        assert not any(one._forward_pre_hooks or one._forward_hooks for one in detector.modules())


class TestConnector:
    def test_always_has_one_where_the_widths_agree(self) -> None:
        student, teacher = detector_of("FCOSHead", 1).eval(), freeze(detector_of("FCOSHead", 2))
        torch.manual_seed(0)
        cross = crossed("FCOSHead", student, teacher, connector="always")
        assert cross.connectors is not None
        assert len(cross.connectors) == 2
        plain = losses_of(crossed("FCOSHead", student, teacher), student, teacher)
        assert total(losses_of(cross, student, teacher)).item() != pytest.approx(total(plain).item(), rel=1e-4)

    def test_one_that_passes_everything_is_as_none(self) -> None:
        student, teacher = detector_of("FCOSHead", 1).eval(), freeze(detector_of("FCOSHead", 2))
        cross = crossed("FCOSHead", student, teacher, connector="always")
        for connector in convolutions(cross):
            torch.nn.init.dirac_(connector.weight)
            assert connector.bias is not None
            torch.nn.init.zeros_(connector.bias)
        plain = losses_of(crossed("FCOSHead", student, teacher), student, teacher)
        found = losses_of(cross, student, teacher)
        assert {name: one.item() for name, one in found.items()} == pytest.approx(
            {name: one.item() for name, one in plain.items()}, rel=1e-5
        )

    def test_there_is_one_before_the_head_at_position_0(self) -> None:
        student, teacher = detector_of("FCOSHead", 1, 64), freeze(detector_of("FCOSHead", 2))
        assert len(crossed("FCOSHead", student, teacher, position=0).connectors or ()) == 1

    def test_it_is_trained_and_kept_with_the_model_of_a_trial(self) -> None:
        student, teacher = detector_of("FCOSHead", 1, 64), freeze(detector_of("FCOSHead", 2))
        cross = crossed("FCOSHead", student, teacher)
        model = DistillDetector(student, teacher, Terms(heads=cross))
        ours = {id(one) for one in (cross.connectors or torch.nn.ModuleList()).parameters()}
        assert len(ours) == 4
        assert ours <= {id(one) for one in model.parameters()}
        assert {id(one) for one in teacher.parameters()}.isdisjoint(id(one) for one in model.parameters())
        named = {name for name in model.state_dict() if not name.startswith("student.")}
        assert named == {f"connectors.{tower}.{part}" for tower in (0, 1) for part in ("weight", "bias")}
        assert not any("connectors" in name for name in student.state_dict())
        plain = DistillDetector(detector_of("FCOSHead", 1), teacher, Terms())
        assert "connectors" not in dict(plain.named_children())


REFUSED = {
    "RTMDetSepBNHead": (3, r"distill\.crosskd\.position: must be 0\.\.2, because the towers of the student"),
    "YOLOXHead": (3, r"must be 0\.\.2, because .* YOLOXHead have 2 convolutions, but got 3"),
    "TOODHead": (1, "must be 0, because a TOODHead has no towers, but got 1"),
}


@pytest.mark.parametrize("head", REFUSED)
def test_a_position_outside_the_towers_is_refused(head: str) -> None:
    position, message = REFUSED[head]
    with pytest.raises(BadInput, match=message):
        check_heads(detector_of(head, 1), detector_of(head, 2), position=position)


def test_a_head_of_another_kind_is_refused() -> None:
    with pytest.raises(
        BadInput, match="head families must be equal, but the student has PAAHead, the teacher ATSSHead"
    ):
        check_heads(detector_of("PAAHead"), detector_of("ATSSHead"), position=1)


def test_a_box_turned_over_is_as_far_as_one_that_misses() -> None:
    """Its sides are negative, and their product is no area: the distance stays from 0 to 2."""
    truth = torch.tensor([0.0, 0.0, 10.0, 10.0])
    turned = torch.tensor([[9.0, 9, 1, 1], [60, 60, -40, -40], [9, 1, 1, 9], [200, 200, 150, 150]])
    found = giou_distance(turned, truth.expand(4, 4))
    assert found.amin() >= 1
    assert found.amax() <= 2
