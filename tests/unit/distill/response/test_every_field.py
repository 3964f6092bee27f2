"""Every field of the response terms and of CrossKD acts: the list is the schema's, so that a new one is tried too."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ikd.config import HOSTS, RESPONSE_LOSSES, Section
from ikd.config import Recipe as _Recipe
from ikd.detectors import freeze
from ikd.distill.detector import DistillDetector
from ikd.distill.response import TERMS, QueryTerm
from ikd.distill.response.queries import NAME
from ikd.distill.terms import Terms
from tests.unit.distill.detrs import data, detr
from tests.unit.distill.heads import losses_of as dense_losses
from tests.unit.distill.heads import tiny
from tests.unit.distill.response import reference
from tests.unit.distill.test_crosskd_regions import crossing, found, pair

SECTIONS: Mapping[str, type[Section]] = {
    name: type(section) for name, section in _Recipe.model_fields["distill"].default.response
}
WHERE: Mapping[tuple[str, str], dict[str, Any]] = {
    ("ld", "kd_temperature"): {"w_kd": 1.0},
    ("kd_detr", "temperature"): {"class_loss": "kl"},
}
"""What else must be so for a field to act."""
BESIDE = ("specific", "general")
"""Fields of KD-DETR that say which queries there are."""


def others(section: type[Section], name: str) -> Iterator[Any]:
    """Yield values of a field other than its default: every other choice, or a number that is allowed."""
    field, kind = section.model_fields[name], section.model_fields[name].annotation
    if kind is bool:
        yield not field.default
    elif get_origin(kind) is Literal:
        yield from (one for one in get_args(kind) if one != field.default)
    else:
        assert kind in (int, float), f"{name}: say in this test how a {kind} is changed"
        for value in (field.default * 3, field.default + 1, field.default / 3):
            chosen = kind(value)
            if chosen != field.default and _allowed(section, name, chosen):
                yield chosen
                return


def _allowed(section: type[Section], name: str, value: Any) -> bool:
    try:
        section(**{name: value})
    except ValidationError:
        return False
    return True


CROSSING = ("position", "connector", "roi")
"""Fields of CrossKD that say what goes through the teacher's head; see below."""
FIELDS = [
    (name, field, value)
    for name, section in SECTIONS.items()
    for field in section.model_fields
    if field not in ("enabled", *BESIDE, *CROSSING)
    for value in others(section, field)
]


def test_the_sections_are_those_of_a_recipe() -> None:
    assert {"bckd", "ld", "logits", "dense_teacher", "kd_detr", "vkd", "crosskd"} == set(SECTIONS)
    assert all(RESPONSE_LOSSES[name] is section for name, section in SECTIONS.items())
    tried = {(name, field) for name, field, _ in FIELDS}
    every = {(name, field) for name, section in SECTIONS.items() for field in section.model_fields}
    assert {field for _, field in every - tried} == {"enabled", *BESIDE, *CROSSING}


def _inputs(name: str) -> Iterator[tuple[Any, Any, Any]]:
    """Yield heads with and without qualities, and an assignment with a level of background alone."""
    if name == "kd_detr":
        yield reference.queries("student"), reference.queries("teacher"), reference.assigned()
        return
    student, teacher = (reference.head(side, quality=True) for side in ("student", "teacher"))
    yield student, teacher, reference.assigned()
    yield student, teacher, reference.assigned(bare=(1,))
    yield student, replace(teacher, quality=None), reference.assigned()


def _values(name: str, **settings: Any) -> list[dict[str, float]]:
    term = TERMS[name](**settings)
    return [{key: float(one) for key, one in term(*given).items()} for given in _inputs(name)]


@pytest.mark.parametrize(("name", "field", "value"), FIELDS)
def test_a_field_of_a_response_term_acts(name: str, field: str, value: Any) -> None:
    given = WHERE.get((name, field), {})
    assert _values(name, **given) != _values(name, **given | {field: value})


@pytest.mark.parametrize("field", BESIDE)
def test_which_queries_there_are_acts(field: str) -> None:
    (value,) = others(SECTIONS[NAME], field)
    student, teacher = detr("dab", 1), freeze(detr("dab", 2))

    def total(**change: Any) -> float:
        term = QueryTerm(student, teacher, seed=0, **{"specific": True, "general": 4} | change)
        losses = DistillDetector(student, teacher, Terms(queries=term)).losses(data())
        return sum(one.item() for key, one in losses.items() if key.startswith(f"loss_{NAME}_"))

    assert total() != total(**{field: min(value, 9)})


CROSSED: type[Section] = HOSTS["crosskd"]
REGIONS: type[Section] = type(CROSSED.model_fields["roi"].default)


@functools.cache
def _dense() -> tuple[Any, Any]:
    return tiny("FCOSHead", 1).eval(), freeze(tiny("FCOSHead", 2))


@functools.cache
def _staged() -> tuple[Any, Any]:
    student, teacher = pair("mask_rcnn_r18")
    return student.eval(), teacher


def _numbers(losses: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: one.item() for name, one in losses.items()}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in CROSSED.model_fields if field != "roi" for value in others(CROSSED, field)],
)
def test_a_field_of_crosskd_acts_between_dense_heads(field: str, value: Any) -> None:
    changed = 0 if field == "position" else value  # the towers have two convolutions
    torch.manual_seed(0)
    usual, other = (crossing(*_dense(), **{"position": 1} | change) for change in ({}, {field: changed}))
    assert _numbers(dense_losses(usual, *_dense())) != _numbers(dense_losses(other, *_dense()))


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in REGIONS.model_fields for value in others(REGIONS, field)]
)
def test_a_field_of_crosskd_acts_between_two_stages(field: str, value: Any) -> None:
    usual, other = (crossing(*_staged(), roi=change) for change in ({}, {field: value}))
    assert _numbers(found(usual, *_staged())) != _numbers(found(other, *_staged()))


def test_the_connector_acts_between_two_stages() -> None:
    usual, other = (crossing(*_staged(), connector=one) for one in ("auto", "always"))
    assert _numbers(found(usual, *_staged())) != _numbers(found(other, *_staged()))
