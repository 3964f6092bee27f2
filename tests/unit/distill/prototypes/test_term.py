"""The term: each loss that is switched on is there and pulls, and what it holds survives a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.config import Distill
from ikd.distill.functional import Targets
from ikd.distill.prototypes.relation import Prototypes
from ikd.distill.prototypes.term import PrototypeTerm

TARGETS = Targets(
    boxes=[torch.tensor([[0.0, 0.0, 30.0, 30.0], [20.0, 8.0, 60.0, 50.0]]), torch.tensor([[5.0, 5.0, 50.0, 40.0]])],
    labels=[torch.tensor([0, 2]), torch.tensor([1])],
    input_size=(64, 64),
)
NO_BOXES = Targets([torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2, (64, 64))


NAMES = ("global_weight", "feature_weight", "background_weight", "coefficients", "strength")
PUBLISHED = {name: getattr(Distill().prototypes, name) for name in NAMES} | {"over_levels": "sum"}


def empty(**options: Any) -> PrototypeTerm:
    torch.manual_seed(0)
    return PrototypeTerm([4, 4], [6, 6], classes=3, count=2, **(PUBLISHED | options))


def term(**options: Any) -> PrototypeTerm:
    made = empty(**options)
    for level in range(2):
        made.hold(level, Prototypes(torch.randn(3, 6), torch.randn(3, 4), torch.tensor([0, 0, 1])))
    return made


def maps() -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    sizes = (8, 4)
    student = [torch.randn(2, 4, size, size, generator=generator).requires_grad_() for size in sizes]
    return student, [torch.randn(2, 6, size, size, generator=generator) for size in sizes]


def values(made: PrototypeTerm, targets: Targets = TARGETS) -> dict[str, float]:
    return {name: loss.item() for name, loss in made(*maps(), targets).items()}


@pytest.mark.parametrize("name", ["global", "feature"])
def test_each_loss_that_is_on_pulls_on_every_level(name: str) -> None:
    off = {"global": "feature_weight", "feature": "global_weight"}[name]
    student, teacher = maps()
    losses = term(**{off: 0.0})(student, teacher, TARGETS)
    assert list(losses) == [f"prototypes_{name}"]
    gradients = torch.autograd.grad(losses[f"prototypes_{name}"], student)
    assert all(float(one.abs().sum()) > 0 for one in gradients)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"global_weight": 10.0}, "prototypes_global"),
        ({"feature_weight": 2.0}, "prototypes_feature"),
        ({"background_weight": 0.0}, "prototypes_feature"),
        ({"coefficients": "ridge"}, "prototypes_global"),
        ({"coefficients": "ridge", "strength": 1.0}, "prototypes_global"),
        ({"over_levels": "mean"}, "prototypes_feature"),
    ],
)
def test_every_option_acts(option: dict[str, Any], name: str) -> None:
    changed, before = values(term(**option)), values(term())
    assert changed[name] != before[name]
    assert {one for one in changed if changed[one] != before[one]} == {name}


def test_weights_attenuation_and_levels_are_factors() -> None:
    before = values(term())
    assert values(term(global_weight=10.0))["prototypes_global"] == pytest.approx(2 * before["prototypes_global"])
    assert values(term(over_levels="mean"))["prototypes_feature"] == pytest.approx(before["prototypes_feature"] / 2)
    made = term()
    made.attenuation = 0.25
    assert values(made) == {name: pytest.approx(value / 4) for name, value in before.items()}


def test_equal_maps_cost_nothing_but_through_the_adapter() -> None:
    torch.manual_seed(0)
    made = PrototypeTerm([4], [4], classes=1, count=2, **(PUBLISHED | {"feature_weight": 0.0}))
    same = torch.randn(1, 4, 8, 8)
    rows = torch.randn(2, 4)
    made.hold(0, Prototypes(rows, rows, torch.tensor([0, 0])))
    targets = Targets([torch.tensor([[0.0, 0.0, 30.0, 30.0]])], [torch.tensor([0])], (64, 64))
    assert made([same], [same], targets)["prototypes_global"].item() == pytest.approx(0, abs=1e-12)


def test_no_boxes_and_no_prototypes_are_finite_and_pull_by_the_background() -> None:
    for made, targets in ((empty(), TARGETS), (term(), NO_BOXES)):
        student, teacher = maps()
        losses = made(student, teacher, targets)
        assert losses["prototypes_global"].item() == 0
        total = losses["prototypes_global"] + losses["prototypes_feature"]
        gradients = torch.autograd.grad(total, student)
        assert all(torch.isfinite(one).all() and one.abs().sum() > 0 for one in gradients)


def test_a_checkpoint_holds_the_prototypes() -> None:
    made, other = term(), empty()
    assert len(other.held(0).labels) == 0
    other.load_state_dict(made.state_dict())
    assert values(other) == values(made)
    assert other.held(1).labels.tolist() == [0, 0, 1]


def test_fewer_prototypes_take_the_place_of_more() -> None:
    made = term()
    made.hold(0, Prototypes(torch.ones(1, 6), torch.ones(1, 4), torch.tensor([2])))
    assert made.held(0).labels.tolist() == [2]
    again = empty()
    again.load_state_dict(made.state_dict())
    assert again.held(0).labels.tolist() == [2]
