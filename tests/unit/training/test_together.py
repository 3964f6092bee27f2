"""Several teachers at once (`teachers.together`): the loss is their mean, and everything but the student is apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from ikd.augment import copy_against
from ikd.config import Recipe
from ikd.distill.detector import DistillDetector
from ikd.errors import BadInput
from ikd.training import (
    DataFiles,
    EpochReport,
    StopTrial,
    build_stage_model,
    check,
    found,
    load_teacher,
    run_trial,
    train_loader,
)
from ikd.training.hooks import CraftHook
from tests.unit.attack.toys import noise_images, sample
from tests.unit.training.untrained import save_untrained

Build = Callable[..., Recipe]


@pytest.fixture(scope="module")
def together(tiny_recipe: Build, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build recipes of two untrained teachers at once, of other widths than the student and than each other."""
    base, folder, available = tiny_recipe(), tmp_path_factory.mktemp("teachers"), {}
    for name, channels, neck in (("big", 8, 24), ("weak", 4, 32)):
        one = base.teachers.available["big"].model_dump(mode="json")
        one["arguments"] |= {"base_channels": channels, "neck_channels": neck}
        weights = save_untrained(base, one, folder / f"{name}.pth")
        available[name] = {**one, "recipe": None, "checkpoint": str(weights)}

    def build(**changes: Any) -> Recipe:
        values = {
            "teachers__available": available,
            "teachers__sequence": ["big", "weak"],
            "teachers__together": True,
            "adversarial__enabled": False,
        }
        return tiny_recipe(**(values | changes))

    return build


def model_of(recipe: Recipe) -> DistillDetector:
    (plan,), files = recipe.stages, DataFiles.of(recipe)
    chosen = [recipe.teachers.available[name] for name in plan.teachers]
    teachers = [load_teacher(one, str(one.checkpoint), files.classes) for one in chosen]
    torch.manual_seed(0)
    return build_stage_model(plan, files, teachers).train()


def step(model: DistillDetector, *places: int) -> tuple[Any, dict[str, float]]:
    """Return the loss of a batch and its parts, with copies that stand for those against teachers by place."""
    images = list(noise_images(2, 64, 96))
    copies = {copy_against(at): [one + 8 * (place + 1) for one in images] for at, place in enumerate(places)}
    data = {"inputs": images, "data_samples": [sample((64, 96)), sample((64, 96))], **copies}
    total, named = model.parse_losses(model.losses(data))
    return total, {name: float(value.detach()) for name, value in named.items()}


def alone(recipe: Recipe, whole: DistillDetector, place: int) -> DistillDetector:
    """Return the model of one of the teachers alone, with the student and the adapters that it has among the others."""
    model, start = model_of(recipe.taught_by(recipe.stages[0].teachers[place])), f"together.{place}."
    state = whole.state_dict()
    student = {name: value for name, value in state.items() if name.startswith("student.")}
    own = {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
    model.load_state_dict(student | own)
    return model


@pytest.mark.parametrize(
    ("changes", "terms", "shares"),
    [
        ({"distill__host": "fgd", "distill__sfa__enabled": True}, ("fgd", "sfa"), None),
        ({"adversarial__enabled": True}, ("fgd", "adversarial"), None),
        ({"distill__host": "crosskd"}, ("crosskd_cls", "crosskd_reg"), (0.3, 0.7)),
        ({"distill__host": "none", "distill__response__bckd__enabled": True}, ("bckd_cls", "bckd_loc"), None),
    ],
)
def test_the_loss_is_the_mean_over_teachers(
    together: Build, changes: dict[str, Any], terms: Sequence[str], shares: tuple[float, float] | None
) -> None:
    names = ("big", "weak")
    weights = shares or (0.5, 0.5)
    stages = [{"teacher": name, "share": share} for name, share in zip(names, weights, strict=True)]
    recipe = together(**changes, **({"teachers__sequence": stages} if shares else {}))
    model = model_of(recipe)
    (_, both), single = step(model, 0, 1), [step(alone(recipe, model, place), place)[1] for place in (0, 1)]
    mean = sum(weight * one["loss"] for weight, one in zip(weights, single, strict=True))
    assert both["loss"] == pytest.approx(mean, rel=1e-6)
    for name, weight, one in zip(names, weights, single, strict=True):
        for term in terms:
            assert one[f"loss_{term}"] > 0
            assert both[f"loss_{name}.{term}"] == pytest.approx(weight * one[f"loss_{term}"], rel=1e-6)
    assert not [name for name in both if name.removeprefix("loss_") in terms]


def test_only_student_and_adapters_are_trained(together: Build) -> None:
    model = model_of(together())
    step(model)[0].backward()
    assert all(one.grad is None for teacher in model.teachers for one in teacher.parameters())
    adapted = {name for name, one in model.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0}
    for place in ("together.0.host.", "together.1.host.", "student.backbone."):
        assert any(name.startswith(place) for name in adapted)
    assert {name.split(".")[0] for name in model.state_dict()} == {"student", "together"}


def test_one_teacher_has_the_names_of_before(together: Build) -> None:
    recipe = together(teachers__sequence=["big"])
    assert {name.split(".")[0] for name in model_of(recipe).state_dict()} == {"student", "host"}
    assert recipe.fingerprint() == recipe.with_values({"teachers.together": False}).fingerprint()


@pytest.mark.slow
def test_a_training_stopped_and_resumed_equals_an_uninterrupted_one(together: Build, tmp_path: Path) -> None:
    """With an average of the student, and all that each teacher has of its own."""
    recipe = together(
        adversarial__enabled=True,
        distill__me__enabled=True,
        distill__agreement__enabled=True,
        distill__prototypes__enabled=True,
        distill__prototypes__images_per_class=3,
        schedule__ema__enabled=True,
        augment__stop_fraction=1.0,
    )

    def stop(report: EpochReport) -> None:
        raise StopTrial

    whole: list[EpochReport] = []
    ended = run_trial(recipe, whole.append, directory=tmp_path / "whole")
    first = run_trial(recipe, stop, directory=tmp_path / "parts")
    again = run_trial(recipe, directory=tmp_path / "parts", checkpoint=first.last)
    weights = [torch.load(one.last, weights_only=True)["model"] for one in (ended, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    logged = whole[-1].metrics
    for name in ("big", "weak"):
        assert logged[f"loss/{name}.fgd"] > 0
        assert logged[f"loss/{name}.adversarial"] > 0
        assert logged[f"loss/{name}.prototypes_global"] > 0
        assert f"weight/{name}.fgd_agreement" in logged
        assert f"teacher/{name}" in logged or f"teacher_mAP/{name}" in logged
    assert "stage" not in logged
    plain = torch.load(ended.best, weights_only=True)["state_dict"]
    assert not [name for name in plain if "together" in name or "host" in name], "what is exported is plain mmdet"


def test_copies_are_crafted_against_each_teacher_while_training(together: Build) -> None:
    recipe = together(adversarial__enabled=True, attack__store="online", augment__noise__enabled=False)
    config = train_loader(recipe.stages[0], DataFiles.of(recipe), perturbations=None, boxes=None, with_masks=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        batch = pseudo_collate([DATASETS.build(config["dataset"])[0]])
    runner: Any = SimpleNamespace(model=model_of(recipe))
    CraftHook(recipe).before_train_iter(runner, 0, batch)
    copies = [batch[copy_against(place)][0].int() for place in (0, 1)]
    assert not torch.equal(*copies)
    for one in copies:
        assert 0 < int((one - batch["inputs"][0].int()).abs().max()) <= recipe.attack.eps


def test_what_is_shared_is_found_of_each(together: Build) -> None:
    available = together().teachers.model_dump(mode="json")["available"]
    trained = {name: {**one, "checkpoint": None, "recipe": "drawn_r18_teacher"} for name, one in available.items()}
    states = found(together(teachers__available=trained, adversarial__enabled=True))
    for kind in ("teacher", "perturbations"):
        assert [one.teacher for one in states if one.kind == kind] == ["big", "weak"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teachers__sequence": ["big", "big"]}, r"teachers\.sequence: must name no teacher twice with .*'big', 'big'"),
        (
            {"adversarial__enabled": True, "augment__published": True, "attack__published": True},
            r"augment\.published: must be false with teachers\.together and adversarial\.enabled: an image has a copy",
        ),
        ({"distill__host": "none"}, r"teachers\.together: must be false where no term stands between the detectors"),
        (
            {"teachers__sequence": ["big", {"teacher": "weak", "set": {"distill.stop_fraction": 0.5}}]},
            r"teachers\.sequence\[1\]\.set\.distill\.stop_fraction: must be the same for all teachers",
        ),
        (
            {"teachers__sequence": ["big", {"teacher": "weak", "set": {"augment.enabled": False}}]},
            r"teachers\.sequence\[1\]\.set\.augment\.enabled: must be the same for all teachers",
        ),
        (
            {"teachers__sequence": ["big", {"teacher": "weak", "set": {"distill.pkd.weight": -1.0}}]},
            r"teachers\.sequence\[1\]\.set\.distill\.pkd\.weight: .*greater than or equal to 0",
        ),
        ({"teachers__sequence": []}, r"teachers\.together: needs a teacher in teachers\.sequence, or must be false"),
        (
            {"teachers__sequence": [{"teacher": "big", "share": 0.5}, {"teacher": "weak", "share": 0.6}]},
            r"teachers\.sequence: must have shares that sum to 1, and they sum to 1\.1",
        ),
        ({"teachers__together": "both"}, r"teachers\.together: should be a valid boolean"),
    ],
)
def test_what_does_not_go_together_is_refused(together: Build, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        together(**changes)


def test_a_teacher_that_does_not_fit_is_named(together: Build) -> None:
    available = together().teachers.model_dump(mode="json")["available"]
    available["odd"] = {"config": "ikd::fcos_r18", "arguments": {}, "recipe": "drawn_r18_teacher"}
    recipe = together(
        teachers__available=available, teachers__sequence=["big", "odd"], distill__host="vkd", distill__levels="all"
    )
    with pytest.raises(BadInput, match=r"teacher odd: .*distill\.host"):
        check(recipe)


def test_only_the_first_must_know_the_classes_that_labels_and_weights_need(together: Build) -> None:
    available = together().teachers.model_dump(mode="json")["available"]
    available["weak"]["classes"] = "own"
    recipe = together(teachers__available=available, student__inherit=True)
    assert [plan.recipe.student.inherit for plan in recipe.stages[0].each] == [True, False]
    with pytest.raises(BadInput, match=r"student\.inherit: must be false where teacher weak knows other classes"):
        together(teachers__available=available, teachers__sequence=["weak", "big"], student__inherit=True)


def test_a_teacher_may_have_terms_of_its_own(together: Build) -> None:
    crossing = {"teacher": "weak", "set": {"distill.host": "crosskd", "distill.crosskd.w_cls": 2.0}}
    recipe = together(distill__host="pkd", teachers__sequence=["big", crossing])
    found_ = step(model_of(recipe))[1]
    assert {name for name in found_ if "." in name} == {
        "loss_big.pkd",
        "loss_weak.crosskd_cls",
        "loss_weak.crosskd_reg",
    }
    plain = together(distill__host="pkd", teachers__sequence=["big", "weak"])
    assert recipe.fingerprint() != plain.fingerprint()
    idle = {"teacher": "weak", "set": {"distill.host": "none"}}
    with pytest.raises(BadInput, match=r"teachers\.together: must leave teacher weak something to teach"):
        model_of(together(teachers__sequence=["big", idle]))
