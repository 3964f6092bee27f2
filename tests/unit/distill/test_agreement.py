"""Agreement of gradients: factors by hand, with scaled losses, over steps, and through a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ikd.config import Recipe, load_recipe
from ikd.detectors import freeze
from ikd.distill.agreement import Agreement, shared_weights
from ikd.distill.detector import DistillDetector
from ikd.distill.losses.registry import build_loss
from ikd.distill.terms import Terms
from ikd.errors import BadInput, ConfigError
from ikd.training.model import _agreement
from ikd.training.optim import ScaledOptimWrapper
from tests.unit.attack.toys import tiny
from tests.unit.distill.test_canvas import CAFFE, batch_of, small
from tests.unit.training.test_step import student, wrapper_of

Build = Callable[..., Recipe]


def toy(eta: float = 0.5, lowest: float = 0.1, highest: float = 10.0) -> Agreement:
    return Agreement(["a", "b", "idle"], eta=eta, lowest=lowest, highest=highest)


def weights(*values: float) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([value])) for value in values]


def step(agreement: Agreement, scale: float = 1.0) -> dict[str, float]:
    """Detection pulls along (3, 4), a along (1, 0), b against detection."""
    x, y = weights(1.0, 1.0)
    detection, a, b = 3 * x + 4 * y, x * 1.0, -6 * x - 8 * y
    factors = agreement(detection.sum(), {"a": a.sum(), "b": b.sum()}, [x, y], lambda loss: loss * scale)
    assert x.grad is None, "nothing is accumulated"
    return {name: float(value) for name, value in factors.items()}


def test_factors_by_hand() -> None:
    agreement = toy()
    assert step(agreement) == pytest.approx({"a": 10 ** (0.5 * 0.6), "b": 0.1**0.5})
    assert step(agreement) == pytest.approx({"a": 10 ** (0.75 * 0.6), "b": 0.1**0.75})
    assert agreement.factors[2] == 1, "a term that is not there stays"


def test_bounds_and_speed_act() -> None:
    assert step(toy(eta=1.0, lowest=0.3, highest=1.5)) == pytest.approx({"a": 1.5**0.6, "b": 0.3})
    assert step(toy(eta=0.01))["a"] == pytest.approx(10**0.006)


def test_a_steady_pull_does_not_drive_a_factor_to_its_bound() -> None:
    agreement = toy()
    for _ in range(200):
        found = step(agreement)
    assert found == pytest.approx({"a": 10**0.6, "b": 0.1})


@pytest.mark.parametrize("scale", [1e-30, 65536.0])
def test_a_scale_changes_nothing(scale: float) -> None:
    assert step(toy(), scale) == pytest.approx(step(toy()), rel=1e-5)


def test_an_overflowing_or_missing_gradient_leaves_a_factor() -> None:
    agreement = toy()
    assert step(agreement, math.inf) == {"a": 1.0, "b": 1.0}
    [x] = weights(1.0)
    constant = torch.zeros((), requires_grad=True) * 0 + 2
    assert float(agreement(x.sum(), {"a": constant}, [x])["a"]) == 1
    assert float(agreement(x.sum(), {"a": torch.tensor(2.0)}, [x])["a"]) == 1
    assert agreement(x.sum(), {}, [x]) == agreement.latest


def test_factors_are_no_part_of_the_graph() -> None:
    agreement = toy()
    x, y = weights(1.0, 1.0)
    loss = (x * y).sum()
    factors = agreement((x + y).sum(), {"a": loss}, [x, y])
    weighed = factors["a"] * loss
    agreement((x + y).sum(), {"a": loss}, [x, y])  # moves the buffer in place before the backward pass
    weighed.backward()
    assert float(x.grad or 0) == pytest.approx(float(factors["a"]))


SETTINGS = {"eta": 0.5, "lowest": 0.1, "highest": 10.0}


def model(agreement: dict[str, float] | None = SETTINGS, **more: Any) -> DistillDetector:
    torch.manual_seed(0)
    levels = [build_loss("fitnet", 16, 16) for _ in range(5)]
    terms: dict[str, Any] = {"alignment": {0: build_loss("pkd", 16, 16, weight=1.0)}, "measured": True} | more
    made = Terms(range(5), range(5), host=("fitnet", levels), agreement=agreement, **terms)
    return DistillDetector(small(), freeze(small(**CAFFE)), made).train()


def _factor(mean: float) -> float:
    return float(10.0 ** max(mean, 0) * 0.1 ** max(-mean, 0))


def cosine(detector: DistillDetector, data: dict[str, Any], loss: str) -> float:
    """Of the gradients on the neck, by two backward passes of their own."""
    found = []
    for names in (("loss_cls", "loss_bbox"), (loss,)):
        detector.zero_grad()
        _, named = detector.parse_losses(detector.losses(data))
        torch.autograd.backward(torch.stack([named[name] for name in names]).sum())
        grads = [one.grad if one.grad is not None else one * 0 for one in detector.student.neck.parameters()]
        found.append(torch.cat([one.detach().flatten() for one in grads]))
    detector.zero_grad()
    return float(torch.nn.functional.cosine_similarity(found[0], found[1], dim=0))


def run(detector: DistillDetector, steps: int, wrapper: Any = None) -> list[dict[str, float]]:
    wrapper = wrapper or wrapper_of(detector)
    for group in wrapper.optimizer.param_groups:
        group["lr"] = 1e-3
    done = []
    for count in range(1, steps + 1):
        detector.position = (1, count)
        losses = detector.train_step(batch_of((64, 96), (64, 64)), wrapper)
        done.append({name: float(value) for name, value in losses.items()})
    return done


def test_a_step_weighs_terms_by_how_they_agree_and_their_sum_is_the_total() -> None:
    plain, weighed = model(agreement=None), model()
    data = batch_of((64, 96), (64, 64))
    expected = {name: _factor(0.5 * cosine(weighed, data, f"loss_{name}")) for name in ("fitnet", "sfa")}
    [before], [after] = run(plain, 1), run(weighed, 1)
    for name, factor in expected.items():
        assert after[name] == pytest.approx(factor * before[name], rel=1e-4)
        assert factor != pytest.approx(1, abs=1e-3)
    assert after["cls"] == pytest.approx(before["cls"])
    assert after["total"] == pytest.approx(sum(value for name, value in after.items() if name != "total"), rel=1e-5)
    assert weighed.agreement is not None
    assert {name: float(one) for name, one in weighed.agreement.latest.items()} == pytest.approx(expected, rel=1e-4)
    assert weighed.pulls["fitnet"] == pytest.approx(expected["fitnet"] * plain.pulls["fitnet"], rel=1e-3)


def test_only_the_step_of_the_student_is_moved_by_the_weighed_loss() -> None:
    """The gradient is detection's plus the factors times those of the terms: nothing is left of the comparing."""
    weighed, data = model(), batch_of((64, 96), (64, 64))
    wrapper = wrapper_of(weighed)
    weight = weighed.student.neck.lateral_convs[0].conv.weight
    before = weight.detach().clone()
    weighed.train_step(data, wrapper)
    moved = (before - weight.detach()) / 0.5
    assert weighed.agreement is not None
    factors = {name: float(one) for name, one in weighed.agreement.latest.items()}
    other = model(agreement=None)
    _, named = other.parse_losses(other.losses(data))
    total = sum(value * factors.get(name.removeprefix("loss_"), 1.0) for name, value in named.items() if name != "loss")
    assert isinstance(total, Tensor)
    torch.autograd.backward(total)
    assert torch.allclose(moved, other.student.neck.lateral_convs[0].conv.weight.grad, atol=1e-5)


def test_a_checkpoint_goes_on_bit_by_bit() -> None:
    whole = model()
    through = run(whole, 4)[2:]
    first = model()
    run(first, 2)
    second = model()
    second.load_state_dict(first.state_dict())
    assert "agreement.cosines" in first.state_dict()
    assert run(second, 2) == through


def test_without_it_a_checkpoint_has_nothing_of_it() -> None:
    assert not [name for name in model(agreement=None).state_dict() if "agreement" in name]


def test_a_scaled_loss_gives_the_same_factors() -> None:
    plain, scaled = model(), model()
    run(plain, 2, wrapper_of(plain, max_norm=35.0))
    run(scaled, 2, wrapper_of(scaled, ScaledOptimWrapper, max_norm=35.0))
    assert plain.agreement is not None
    assert scaled.agreement is not None
    assert torch.allclose(plain.agreement.factors, scaled.agreement.factors, rtol=1e-4)


def test_half_precision_has_it_too() -> None:
    half = model()
    wrapper = wrapper_of(half, autocast=torch.bfloat16)
    run(half, 2, wrapper)
    assert half.agreement is not None
    assert half.agreement.factors.isfinite().all()
    assert float(half.agreement.latest["fitnet"]) != 1


def test_heads_and_prototypes_are_terms_too() -> None:
    from ikd.distill.crosskd.heads import CrossHeads
    from tests.unit.distill.heads import hyperparameters

    ours, teacher = student(), tiny("retinanet_r18", 1)
    heads = CrossHeads(ours, teacher, **hyperparameters())
    detector = DistillDetector(ours, teacher, Terms(heads=heads, agreement=SETTINGS))
    detector.train_step(batch_of((64, 64)), wrapper_of(detector))
    assert detector.agreement is not None
    assert list(detector.agreement.latest) == ["crosskd"]


class TestRecipe:
    """`distill.agreement` of a recipe."""

    @pytest.mark.parametrize(
        ("field", "value", "rule"),
        [
            ("eta", 0, "should be greater than 0, but got 0"),
            ("eta", 2, "should be less than or equal to 1, but got 2"),
            ("lowest", 1.5, "should be less than or equal to 1, but got 1.5"),
            ("lowest", 0, "should be greater than 0, but got 0"),
            ("highest", 0.9, "should be greater than or equal to 1, but got 0.9"),
            ("rate", 1, "is no recipe field"),
        ],
    )
    def test_bad_values_are_refused(self, field: str, value: Any, rule: str) -> None:
        with pytest.raises(ConfigError, match=rf"distill\.agreement\.{field}.*{rule}"):
            load_recipe("drawn_r18", {}).with_values({f"distill.agreement.{field}": value})

    def test_it_needs_a_teacher(self) -> None:
        recipe = load_recipe("drawn_r18", {"distill.agreement.enabled": True})
        assert not recipe.student_alone().distill.agreement.enabled
        with pytest.raises(ConfigError, match=r"distill\.agreement\.enabled: needs a teacher in teachers\.sequence"):
            recipe.student_alone().with_values({"distill.agreement.enabled": True})

    @pytest.mark.parametrize(("field", "value"), [("eta", 0.3), ("lowest", 0.5), ("highest", 2.0)])
    def test_each_field_acts_where_it_is_on(self, field: str, value: float) -> None:
        off, on = (load_recipe("drawn_r18", {"distill.agreement.enabled": one}) for one in (False, True))
        assert on.fingerprint() != off.fingerprint()
        name = f"distill.agreement.{field}"
        assert on.with_values({name: value}).fingerprint() != on.fingerprint()
        assert off.with_values({name: value}).fingerprint() == off.fingerprint()

    def test_a_student_without_a_trained_neck_is_refused(self) -> None:
        recipe = load_recipe("drawn_r18", {"distill.agreement.enabled": True})
        made = tiny("retinanet_r18").requires_grad_(True)
        assert _agreement(recipe, made) == {"eta": 0.1, "lowest": 0.1, "highest": 10.0}
        assert shared_weights(made)
        made.neck.with_cp = True
        with pytest.raises(BadInput, match=r"agreement\.enabled: must be false: neck recomputes its activations"):
            _agreement(recipe, made)
        made.neck.with_cp = False
        made.backbone.with_cp = True
        assert _agreement(recipe, made) is not None
        made.neck.requires_grad_(False)
        with pytest.raises(
            BadInput, match=r"must be false: it compares gradients on the neck, and this RetinaNet has none"
        ):
            _agreement(recipe, made)


@pytest.mark.slow
def test_a_trial_that_stopped_goes_on_bit_by_bit(tiny_recipe: Build, tmp_path: Path) -> None:
    """Joint augmentation, confidence and agreement together, whole and in two parts; and each acts."""
    from ikd.training import StopTrial, run_trial

    on = {
        "input__joint": {"enabled": True, "proportion": 0.5},
        "distill__confidence": ["host"],
        "distill__agreement__enabled": True,
        "adversarial__enabled": False,
    }

    def stop(report: Any) -> None:
        raise StopTrial

    whole = run_trial(tiny_recipe(**on), directory=tmp_path / "whole", threads=1)
    run_trial(tiny_recipe(**on), stop, directory=tmp_path / "parts", threads=1)
    parts = run_trial(tiny_recipe(**on), directory=tmp_path / "parts", threads=1)
    seconds = {name for name in whole.metrics if name.startswith("time/") or "seconds" in name}
    assert {k: v for k, v in whole.metrics.items() if k not in seconds} == {
        k: v for k, v in parts.metrics.items() if k not in seconds
    }
    assert whole.metrics["weight/fgd_agreement"] != 1
    assert 0 < whole.metrics["joint/altered_share"] < 1
    for left_out in on:
        less = {key: value for key, value in on.items() if key != left_out}
        if left_out.startswith("input"):
            less.pop("distill__confidence")
        if left_out == "adversarial__enabled":
            continue
        other = run_trial(tiny_recipe(**less), directory=tmp_path / left_out, threads=1)
        assert other.metrics["loss/fgd"] != whole.metrics["loss/fgd"]
