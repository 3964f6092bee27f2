"""Optimiser, schedule and average: each option acts, resumes as if it had not stopped, and says what it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import nn

from ikd.config import Recipe
from ikd.errors import BadInput, ConfigError
from ikd.training import EpochReport, StopTrial, TrialResult, check, run_trial
from ikd.training.optim import optim_wrapper, param_schedulers, trained_names
from ikd.training.optim.norms import shared_norms
from tests.marks import some

Build = Callable[..., Recipe]
CPU = torch.device("cpu")
NESTEROV = {"schedule__optimizer": {"type": "sgd", "lr": 0.01, "nesterov": True}}
GROUPS = {"norm_decay": False, "bias_decay": False, "lr_mult": {"backbone": 0.1}}
CONSTANT = {"schedule__policy__type": "constant"}
ALIKE: dict[str, dict[str, Any]] = {
    "average": {"schedule__ema": {"enabled": True, "momentum": 0.1, "gamma": 3}},
    "one cycle": {
        "schedule__policy": {"type": "one_cycle", "floor": 0.1, "tail": 0.2},
        "schedule__warmup__iterations": 0,
        "schedule__optimizer": {"type": "sgd", "lr": 0.01, **GROUPS},
    },
    "flat cosine": {"schedule__policy": {"type": "cosine", "start": 0.3, "floor": 0.05, "tail": 0.2}},
    "nesterov": NESTEROV,
    "groups": {"schedule__optimizer": {"type": "adamw", "lr": 1e-3, **GROUPS}},
    "quadratic": CONSTANT | {"schedule__warmup": {"iterations": 3, "ratio": 0.1, "shape": "quadratic"}},
    "constant": CONSTANT | {"schedule__warmup": {"iterations": 3, "ratio": 0.1, "shape": "constant"}},
    "average, linear": {"schedule__ema": {"enabled": True, "momentum": 0.1, "gamma": 3, "warmup": "linear"}},
    "average, at once": {"schedule__ema": {"enabled": True, "momentum": 0.1, "warmup": "none"}},
}


@pytest.fixture(scope="module")
def simple(tiny_recipe: Build) -> Build:
    """Build recipes that distil plainly: two steps an epoch, and four epochs."""

    def build(**changes: Any) -> Recipe:
        plain = {"adversarial__enabled": False, "augment__enabled": False, "schedule__epochs": 4}
        return tiny_recipe(**(plain | changes))

    return build


def trained(recipe: Recipe, directory: Path, *stops: int) -> tuple[TrialResult, list[EpochReport]]:
    """Train a recipe, stopped after some epochs and taken up again."""
    reports: list[EpochReport] = []

    def report(one: EpochReport) -> None:
        reports.append(one)
        if one.epoch in stops:
            raise StopTrial

    result = run_trial(recipe, report, directory=directory)
    while result.epochs < recipe.total_epochs:
        result = run_trial(recipe, report, result.last, directory=directory)
    return result, reports


def content(result: TrialResult, name: str) -> Any:
    return torch.load(result.last, weights_only=True)[name]


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[key], theirs[key]) for key in ours)
    return bool(torch.equal(ours, theirs)) if isinstance(ours, torch.Tensor) else ours == theirs


@pytest.fixture(scope="module")
def usual(simple: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights that the unchanged recipe ends with."""
    weights: dict[str, Any] = content(trained(simple(), tmp_path_factory.mktemp("usual"))[0], "model")
    return weights


@pytest.mark.parametrize("option", some(ALIKE, 1))
def test_each_option_acts_and_goes_on_as_if_it_had_not_stopped(
    simple: Build, usual: dict[str, Any], tmp_path: Path, option: str
) -> None:
    recipe = simple(**ALIKE[option])
    whole, reports = trained(recipe, tmp_path / "whole")
    parts, again = trained(recipe, tmp_path / "parts", 1, 3)
    for name in ("model", "optimizer", "schedulers", *(["average"] if "average" in option else [])):
        assert equal(content(whole, name), content(parts, name)), name
    assert [one.metrics["lr"] for one in reports] == [one.metrics["lr"] for one in again]
    assert [one.metrics["bbox_mAP"] for one in reports] == [one.metrics["bbox_mAP"] for one in again]
    if "average" not in option:  # which leaves the student as it is
        assert not equal(content(whole, "model"), usual)
    assert recipe.fingerprint() != simple().fingerprint()


def rates(recipe: Recipe, epochs: int, per_epoch: int, lr: float = 1.0) -> list[float]:
    """Return the rate of every step of a schedule."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr)
    built = [
        PARAM_SCHEDULERS.build(part | {"optimizer": optimizer}) for part in param_schedulers(recipe, epochs, per_epoch)
    ]
    found = []
    for step in range(epochs * per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for one in built:
            if not one.by_epoch or (step + 1) % per_epoch == 0:
                one.step()
    return found


def test_a_flat_cosine_is_flat_then_falls_to_its_floor_and_stays(simple: Build) -> None:
    """RTMDet's: flat for half of the time, then to a twentieth."""
    policy = {"type": "cosine", "start": 0.5, "floor": 0.05, "tail": 0.1}
    found = rates(simple(schedule__policy=policy, schedule__warmup__iterations=0), 10, 10)
    assert found[:50] == [1.0] * 50
    assert found[70] == pytest.approx(0.05 + 0.95 * 0.5), "half of the fall"
    assert found[50:91] == sorted(found[50:91], reverse=True)
    assert found[90:] == pytest.approx([0.05] * 10)


def test_one_cycle_falls_to_its_floor_and_stays(simple: Build) -> None:
    policy = {"type": "one_cycle", "floor": 0.2, "tail": 0.5}
    changes = {"schedule__warmup__iterations": 0, "schedule__optimizer": {"lr": 1.0}}
    found = rates(simple(schedule__policy=policy, **changes), 10, 10)
    assert max(found) == pytest.approx(1.0)
    assert found[0] == pytest.approx(1 / 25)
    assert found[49:] == pytest.approx([0.2] * 51)
    usual = rates(simple(schedule__policy={"type": "one_cycle"}, **changes), 10, 10)
    assert usual[-1] == pytest.approx(4e-6)


@pytest.mark.parametrize(
    ("shape", "expected"), [("linear", [0.1, 0.4, 0.7]), ("quadratic", [1 / 9, 4 / 9, 1.0]), ("constant", [0.1] * 3)]
)
def test_the_shapes_of_warm_up(simple: Build, shape: str, expected: list[float]) -> None:
    warmup = {"iterations": 3, "ratio": 0.1, "shape": shape}
    found = rates(simple(schedule__warmup=warmup, schedule__policy__type="constant"), 1, 6)
    tail = found[3:]
    assert tail == pytest.approx([1.0] * 3)
    if shape == "linear":
        assert found[0] == pytest.approx(0.1)
        assert found[:3] == sorted(found[:3])
    else:
        assert found[:3] == pytest.approx(expected)


class Detector(nn.Module):
    """A student with a backbone of a convolution and a norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.ModuleDict(
            {"backbone": nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "bn": nn.BatchNorm2d(4)}), "head": nn.Linear(4, 2)}
        )
        self.host = nn.Linear(2, 2)


def groups(recipe: Recipe) -> dict[str, tuple[list[str], float, float]]:
    """Return by group: names, rate and decay."""
    model = Detector()
    wrapper = optim_wrapper(recipe, model, CPU)
    names = iter(trained_names(model, wrapper))
    return {
        group["name"]: ([next(names) for _ in group["params"]], group["lr"], group["weight_decay"])
        for group in wrapper.param_groups
    }


def test_groups_hold_what_their_options_say(simple: Build) -> None:
    base = {"type": "sgd", "lr": 0.1, "weight_decay": 0.5}
    every = [name for name, _ in Detector().named_parameters()]
    assert groups(simple(schedule__optimizer=base)) == {"rest": (every, 0.1, 0.5)}
    found = groups(simple(schedule__optimizer=base | {"norm_decay": False}))
    norms = ["student.backbone.bn.weight", "student.backbone.bn.bias"]
    assert found["no decay"] == (norms, 0.1, 0.0)
    found = groups(simple(schedule__optimizer=base | {"bias_decay": False}))
    assert found["no decay"][0] == ["student.backbone.conv.bias", "student.head.bias", "host.bias"]
    found = groups(simple(schedule__optimizer=base | {"lr_mult": {"backbone": 0.1, "backbone.bn": 2.0}}))
    assert found["lr x0.1"][0] == ["student.backbone.conv.weight", "student.backbone.conv.bias"]
    assert found["lr x0.1"][1:] == pytest.approx((0.01, 0.5))
    assert found["lr x2"] == (norms, 0.2, 0.5)
    assert next(iter(found)) == "rest"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule__optimizer": {"type": "adamw", "nesterov": True}}, r"optimizer\.nesterov: must be false without"),
        ({"schedule__optimizer": {"momentum": 0.0, "nesterov": True}}, r"optimizer\.nesterov: must be false without"),
        ({"schedule__optimizer__lr_mult": {"": 0.1}}, "must be the dotted name of a part"),
        ({"schedule__optimizer__lr_mult": {"backbone": 0.0}}, r"lr_mult\.backbone: should be greater than 0"),
        ({"schedule__policy": {"type": "step", "start": 0.5}}, r"policy\.start: must be 0 with policy step"),
        ({"schedule__policy": {"type": "step", "floor": 0.5}}, r"policy\.floor: must be 0 with policy step"),
        ({"schedule__policy": {"type": "constant", "tail": 0.5}}, r"policy\.tail: must be 0 with policy constant"),
        ({"schedule__policy": {"type": "cosine", "start": 0.5, "tail": 0.5}}, r"policy\.tail: must leave a share"),
        ({"schedule__policy": {"type": "cosine", "floor": 1.0}}, r"policy\.floor: should be less than 1"),
        ({"schedule__warmup__shape": "cubic"}, r"warmup\.shape: should be 'linear', 'quadratic' or 'constant'"),
        ({"schedule__ema__momentum": 0.9}, r"ema\.momentum: should be less than or equal to 0\.5"),
        ({"schedule__ema__warmup": "slow"}, r"ema\.warmup: should be"),
        ({"schedule__ema__between_stages": "forget"}, r"ema\.between_stages: should be"),
        ({"schedule__val_last": -1}, r"val_last: should be greater than or equal to 0"),
    ],
)
def test_bad_input_is_refused_by_field(simple: Build, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        simple(**changes)


def test_a_part_that_the_student_has_not_is_refused_before_training(simple: Build) -> None:
    recipe = simple(schedule__optimizer__lr_mult={"encoder": 0.1})
    with pytest.raises(
        BadInput, match=r"lr_mult\.encoder: must be whole words .* its parts are backbone, neck, bbox_head"
    ):
        check(recipe)


def test_a_tail_that_begins_within_the_warm_up_is_refused_before_training(simple: Build) -> None:
    policy = {"type": "cosine", "tail": 0.5}
    recipe = simple(schedule__policy=policy, schedule__warmup__iterations=6, schedule__epochs=4)
    with pytest.raises(BadInput, match=r"policy\.tail: must begin after warm-up"):
        check(recipe)


@pytest.mark.parametrize(("last", "validated"), [(0, [3, 6]), (2, [3, 5, 6]), (9, [1, 2, 3, 4, 5, 6])])
def test_the_last_epochs_are_validated_one_by_one(
    simple: Build, tmp_path: Path, last: int, validated: list[int]
) -> None:
    alone = simple().student_alone()
    recipe = alone.with_values({"schedule.epochs": 6, "schedule.val_interval": 3, "schedule.val_last": last})
    assert [one.epoch for one in trained(recipe, tmp_path)[1]] == validated


def test_the_average_is_mmdets_and_is_what_is_validated_and_kept(simple: Build, tmp_path: Path) -> None:
    """Step by step by the formula of mmdet's ExpMomentumEMA, running statistics included."""
    recipe = simple(schedule__epochs=1, schedule__ema={"enabled": True, "momentum": 0.3, "gamma": 2})
    seen: list[dict[str, torch.Tensor]] = []

    class Spy(Hook):
        priority = "VERY_LOW"

        def before_train(self, runner: Runner) -> None:
            self._keep(runner)

        def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
            self._keep(runner)

        def _keep(self, runner: Runner) -> None:
            seen.append({name: value.clone() for name, value in runner.model.student.state_dict().items()})

    original = Runner.__init__

    def with_spy(self: Any, *args: Any, custom_hooks: list[Hook], **arguments: Any) -> None:
        original(self, *args, custom_hooks=[*custom_hooks, Spy()], **arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "__init__", with_spy)
        result, _ = trained(recipe, tmp_path)
    average = {name: value.double() for name, value in seen[0].items()}
    for step, student in enumerate(seen[1:]):
        share = (1 - 0.3) * float(torch.exp(torch.tensor(-(1 + step) / 2, dtype=torch.double))) + 0.3
        for name, value in student.items():
            average[name] += share * (value.double() - average[name])
    kept = torch.load(result.best, weights_only=True)["state_dict"]
    assert kept.keys() == average.keys()
    for name, value in kept.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[name], rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(value, seen[-1][name])
    last = content(result, "model")
    name = "bbox_head.retina_cls.weight"
    assert not torch.equal(last[f"student.{name}"], kept[name]), "the student goes its own way"
    assert torch.equal(content(result, "average")["model"][name], kept[name])


@pytest.mark.parametrize(
    ("processes", "gpu", "asked", "expected"),
    [
        (1, True, True, [nn.BatchNorm2d, nn.SyncBatchNorm]),
        (2, True, True, [nn.SyncBatchNorm, nn.SyncBatchNorm]),
        (2, True, False, [nn.BatchNorm2d, nn.SyncBatchNorm]),
        (2, False, True, [nn.BatchNorm2d, nn.BatchNorm2d]),
    ],
)
def test_norms_of_several_processes(
    simple: Build, monkeypatch: pytest.MonkeyPatch, processes: int, gpu: bool, asked: bool, expected: list[type]
) -> None:
    """Over all of them where a recipe asks or a detector brings it; a CPU has none. Weights keep their names."""
    monkeypatch.setattr("ikd.training.optim.norms.get_world_size", lambda: processes)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    student = nn.Sequential(nn.BatchNorm2d(4), nn.SyncBatchNorm(4))
    names = list(student.state_dict())
    found = shared_norms(simple(schedule__sync_norm=asked), student)
    over_all = [isinstance(one, nn.SyncBatchNorm) for one in found.children()]
    assert over_all == [kind is nn.SyncBatchNorm for kind in expected]
    assert list(found.state_dict()) == names
