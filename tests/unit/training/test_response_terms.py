"""Response terms in the model of a trial: beside a host or with none, by the fields of a recipe."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.config import HOSTS, HOSTS_BESIDE, Recipe, load_recipe
from ikd.data import DataFiles
from ikd.detectors import build_detector, freeze
from ikd.distill.detector import DistillDetector
from ikd.distill.labels import LabelTerm
from ikd.distill.response import ResponseTerms, between
from ikd.distill.terms import Terms
from ikd.errors import BadInput, ConfigError
from ikd.training.model import build_model
from ikd.training.teachers.loading import model_config
from tests.unit.distill.heads import BOXES, SIDE, batch, pair, tiny


def losses(**terms: dict[str, Any]) -> dict[str, Tensor]:
    student, teacher = tiny("GFLHead", 1).train(), freeze(tiny("GFLHead", 2))
    return losses_of(DistillDetector(student, teacher, Terms(predictions=ResponseTerms(student, teacher, terms))))


def losses_of(model: DistillDetector) -> dict[str, Tensor]:
    assert model.lessons[0].reader.student_taps is None
    return model.losses(pixels_of(BOXES))


def pixels_of(boxes: Any) -> dict[str, Any]:
    images, samples = batch(boxes)
    pixels = [(one * 20 + 100).clamp(0, 255).byte() for one in images]
    for sample in samples:
        sample.set_metainfo({"ori_shape": (SIDE, SIDE), "scale_factor": (1.0, 1.0)})
    return {"inputs": pixels, "data_samples": copy.deepcopy(samples)}


def test_terms_come_beside_the_losses_of_the_student() -> None:
    found = losses(bckd={}, ld={})
    assert {"loss_bckd_cls", "loss_bckd_loc", "loss_ld_main", "loss_ld_vlr", "loss_cls"} <= set(found)


def test_every_weight_acts() -> None:
    plain, changed = losses(bckd={}, dense_teacher={}), losses(bckd={"w_cls": 3.0, "w_loc": 8.0}, dense_teacher={})
    torch.testing.assert_close(changed["loss_bckd_cls"], 3 * plain["loss_bckd_cls"])
    torch.testing.assert_close(changed["loss_bckd_loc"], 2 * plain["loss_bckd_loc"])
    torch.testing.assert_close(changed["loss_dense_teacher_cls"], plain["loss_dense_teacher_cls"])


def test_losses_belong_to_their_terms() -> None:
    student, teacher = tiny("GFLHead", 1), freeze(tiny("GFLHead", 2))
    terms = Terms(predictions=ResponseTerms(student, teacher, {"bckd": {}, "dense_teacher": {}}))
    assert terms.names == ["bckd", "dense_teacher"]
    model = DistillDetector(student, teacher, terms)
    assert model._term_of("loss_dense_teacher_cls") == "dense_teacher"
    assert model._term_of("loss_bckd_loc") == "bckd"


def test_a_recipe_switches_terms_on_by_name() -> None:
    recipe = load_recipe("small_ld")
    assert recipe.distill.response.active == ("bckd", "ld")
    effective = recipe.effective()["teachers"][0]["distill"]
    assert set(effective["response"]) == {"bckd", "ld"}
    alone = recipe.with_values({"distill.response.bckd.enabled": False, "distill.response.ld.enabled": False})
    assert "distill" not in alone.effective()["teachers"][0]
    assert alone.fingerprint() != recipe.fingerprint()


@pytest.mark.parametrize("family", ["GFLHead", "FasterRCNN"])
@pytest.mark.parametrize("name", HOSTS_BESIDE)
def test_beside_another_it_is_what_it_is_as_the_host(name: str, family: str) -> None:
    """Values, and gradients of student and connectors: only who asks is another."""
    crossing = {"connector": "always"} | ({"position": 1} if family == "GFLHead" else {})
    settings = HOSTS[name]().model_dump() | (crossing if name == "crosskd" else {})

    def learnt(*, beside: bool) -> tuple[dict[str, float], dict[str, Tensor]]:
        student, teacher = pair(family)
        torch.manual_seed(0)
        one = between(name, student, teacher, **settings, reduction="published", beside=beside)
        model = DistillDetector(student, teacher, Terms(beside=[one]) if beside else Terms(heads=one))
        found = {key: value for key, value in losses_of(model).items() if model._term_of(key) == name}
        torch.autograd.backward(torch.stack(list(found.values())).sum())
        grads = {key: one.grad for key, one in model.named_parameters() if one.grad is not None}
        return {key: value.item() for key, value in found.items()}, grads

    (values, grads), (usual, wanted) = learnt(beside=True), learnt(beside=False)
    assert values == usual
    assert values
    assert any("connectors" in key for key in grads) == (name == "crosskd")
    assert set(grads) == set(wanted)
    assert all(torch.equal(grads[key], wanted[key]) for key in grads)


@pytest.mark.parametrize("name", HOSTS_BESIDE)
def test_a_recipe_has_it_beside_a_host_of_maps(name: str, tiny_data: Path) -> None:
    given = {"data.root": str(tiny_data), "distill.host": "pkd", f"distill.response.{name}.enabled": True}
    recipe = load_recipe("small_bckd", {**given, "distill.response.crosskd.position": 1})
    assert terms_of(recipe).names == ["pkd", "me", name, "bckd"]
    weight = "weight" if name == "vkd" else "w_reg"
    assert recipe.with_values({f"distill.response.{name}.{weight}": 3.0}).fingerprint() != recipe.fingerprint()
    assert recipe.with_values({f"distill.{name}.{weight}": 3.0}).fingerprint() == recipe.fingerprint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crosskd.position": 9}, r"distill\.response\.crosskd\.position: must be 0\.\.1, because"),
        (
            {"crosskd.roi.w_reg": 2.0},
            r"distill\.response\.crosskd\.roi\.w_reg: must be left at 1, but got 2\.0; between",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(changes: dict[str, Any], message: str, tiny_data: Path) -> None:
    fields = {f"distill.response.{name}": value for name, value in changes.items()}
    given = {"data.root": str(tiny_data), "distill.response.crosskd.enabled": True}
    with pytest.raises(BadInput, match=message):
        terms_of(load_recipe("small_bckd", {**given, "distill.response.crosskd.position": 1, **fields}))


def test_detectors_that_it_does_not_compare_are_refused() -> None:
    student, teacher = pair("GFLHead")[0], pair("FasterRCNN")[1]
    for name in HOSTS_BESIDE:
        settings = HOSTS[name]().model_dump()
        with pytest.raises(
            BadInput, match=rf"^distill\.response\.{name}: must be between two one-stage or two two-stage"
        ):
            between(name, student, teacher, **settings, reduction="published", beside=True)


@pytest.mark.parametrize("name", HOSTS_BESIDE)
def test_it_is_refused_beside_itself(name: str) -> None:
    given = {"distill.host": name, f"distill.response.{name}.enabled": True}
    with pytest.raises(
        ConfigError, match=rf"distill\.response\.{name}\.enabled: must be false with distill\.host {name}"
    ):
        load_recipe("small_r18", given)


@pytest.mark.parametrize("name", ["vkd", "crosskd", "bckd"])
def test_how_many_boxes_photographs_have_scales_no_term(name: str) -> None:
    """Of the teacher's boxes a threshold chooses the labels; it must not choose the weight of what compares heads."""

    def part(boxes: list[Any]) -> float:
        student, teacher = pair("GFLHead")
        if name == "bckd":
            terms = Terms(predictions=ResponseTerms(student, teacher, {"bckd": {}}), labels=LabelTerm(0.0, False))
        else:
            position = {"position": 1} if name == "crosskd" else {}
            settings = HOSTS[name]().model_dump() | position
            one = between(name, student, teacher, **settings, reduction="published")
            terms = Terms(heads=one, labels=LabelTerm(0.0, False))
        data, more = pixels_of(BOXES), pixels_of(boxes)
        data |= {"unlabelled": more["inputs"], "unlabelled_samples": more["data_samples"]}
        found = DistillDetector(student, teacher, terms).losses(data)
        return sum(value.item() for key, value in found.items() if key.startswith(f"loss_{name}"))

    many, none = part(BOXES), part([[] for _ in BOXES])
    assert none == pytest.approx(many, rel=0.05)


def terms_of(recipe: Recipe) -> Terms:
    files, plan = DataFiles.of(recipe), recipe.stages[0]
    assert plan.recipe.teacher is not None
    teacher = freeze(build_detector(model_config(plan.recipe.teacher, files.classes)))
    return build_model(plan.recipe, files, teacher).lessons[0].terms
