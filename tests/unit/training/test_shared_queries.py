"""KD-DETR in the model of a trial: what two DETRs say of the same queries."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.detectors import freeze, loss_mode
from ikd.distill.detector import DistillDetector
from ikd.distill.response import QueryTerm
from ikd.distill.terms import Terms
from ikd.errors import BadInput
from tests.unit.distill.detrs import FAMILIES, data, detr
from tests.unit.distill.heads import tiny

PARTS = [f"loss_kd_detr_{one}_{part}" for one in ("specific", "general") for part in ("cls", "l1", "giou")]
DEFAULTS: dict[str, Any] = {"seed": 0, "specific": True, "general": 7}


def pair(student: Any, teacher: Any, **changes: Any) -> DistillDetector:
    term = QueryTerm(student, freeze(teacher), **DEFAULTS | changes)
    return DistillDetector(student, teacher, Terms(queries=term))


def terms(model: DistillDetector) -> dict[str, Tensor]:
    found = model.losses(data())
    return {name: value for name, value in found.items() if name.startswith("loss_kd_detr_")}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_detr_learns_from_a_wider_one_of_its_family(family: str) -> None:
    student = detr(family, 1).train()
    model = pair(student, detr(family, 2, num_queries=15, encoder__num_layers=2))
    found = terms(model)
    assert list(found) == PARTS
    assert all(one.isfinite() and one > 0 for one in found.values())
    torch.stack(list(found.values())).sum().backward()
    reached = {name for name, one in student.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0}
    assert {"backbone", "neck", "encoder", "decoder", "bbox_head"} == {name.split(".")[0] for name in reached} - {
        "level_embed"
    }
    assert all(one.grad is None for one in model.teacher.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_that_is_its_teacher_has_nothing_to_learn_in_the_last_layer(family: str) -> None:
    student = detr(family, 1, decoder__num_layers=1).eval()
    kind = {"class_loss": "kl"} if family == "detr" else {}
    with loss_mode(student):
        found = terms(pair(student, copy.deepcopy(student).eval(), **kind))
    assert list(found) == PARTS
    assert all(abs(one.item()) < 2e-4 for one in found.values()), found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_that_of_itself(family: str) -> None:
    student = detr(family, 1).eval()
    with loss_mode(student):
        found = terms(pair(student, copy.deepcopy(student).eval(), layer="same"))
    assert all(abs(one.item()) < 2e-4 for one in found.values()), found
