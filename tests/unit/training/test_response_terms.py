"""Response terms in the model of a trial: beside a host or with none, by the fields of a recipe."""

from __future__ import annotations

import copy
from typing import Any

import torch

from ikd.config import load_recipe
from ikd.detectors import freeze
from ikd.distill.detector import DistillDetector
from ikd.distill.response import ResponseTerms
from ikd.distill.terms import Terms
from tests.unit.distill.heads import BOXES, SIDE, batch, tiny


def losses(**terms: dict[str, Any]) -> dict[str, torch.Tensor]:
    student, teacher = tiny("GFLHead", 1).train(), freeze(tiny("GFLHead", 2))
    model = DistillDetector(student, teacher, Terms(predictions=ResponseTerms(student, teacher, terms)))
    images, samples = batch(BOXES)
    pixels = [(one * 20 + 100).clamp(0, 255).byte() for one in images]
    for sample in samples:
        sample.set_metainfo({"ori_shape": (SIDE, SIDE), "scale_factor": (1.0, 1.0)})
    assert model.lessons[0].reader.student_taps is None
    return model.losses({"inputs": pixels, "data_samples": copy.deepcopy(samples)})


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
