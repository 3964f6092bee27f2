"""Score-weighted L2: its reference value, and the scores that it asks of a teacher's head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from ikd.config import HOSTS
from ikd.detectors import freeze
from ikd.distill import build_loss
from ikd.distill.response import between
from ikd.errors import BadInput
from tests.unit.distill.dense import HEADS, detector_of
from tests.unit.distill.heads import batch, tiny, two_stages
from tests.unit.distill.maps import TARGETS, make_identity, maps
from tests.unit.distill.response import reference

pytestmark = pytest.mark.filterwarnings("ignore:DeprecationWarning. pos_bboxes")  # DDOD asks its sampler so


@pytest.mark.parametrize(("weight", "expected"), [(1.0, 3.807983863), (6.0, 22.84790318)])
def test_equals_the_reference_value(weight: float, expected: float) -> None:
    scores = reference.head("teacher", levels=(0,)).logits.sigmoid().amax(dim=-1).view(2, 6, 8)
    loss = build_loss("sl2", 4, 4, weight=weight).double()
    make_identity(loss, shift=10.0)
    student, teacher = (side.double() for side in doubles())
    found = loss(student, teacher, replace(TARGETS, importance=scores))
    assert found.item() == pytest.approx(expected, rel=1e-8)


def doubles() -> tuple[torch.Tensor, torch.Tensor]:
    torch.set_default_dtype(torch.float64)
    try:
        return maps()
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_projector_is_there_for_equal_channels_too() -> None:
    loss = build_loss("sl2", 4, 4)
    shapes = [tuple(one.shape) for one in loss.adapter.parameters()]
    assert shapes == [(4, 4, 1, 1), (4,), (4, 4, 1, 1), (4,)]
    assert next(build_loss("sl2", 6, 4).adapter.parameters()).shape == (4, 6, 1, 1)


def test_scores_and_sizes_do_not_change_its_scale() -> None:
    """Twice the cells, the same; all scores halved, the same."""
    loss = build_loss("sl2", 4, 4)
    student, teacher = (side.float() for side in maps())
    scores = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    once = loss(student, teacher, replace(TARGETS, importance=scores)).item()
    twice = loss(
        *(side.repeat(1, 1, 1, 2) for side in (student, teacher)),
        replace(TARGETS, importance=scores.repeat(1, 1, 2) / 2),
    )
    assert twice.item() == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_every_dense_teacher_says_how_sure_it_is(head: str) -> None:
    """Of any student, whose heads are not asked."""
    teacher: Any = freeze(detector_of(head, 2))
    student = two_stages(seed=1).train()
    heads = between("sl2", student, teacher, **HOSTS["sl2"]().model_dump(), reduction="published")
    images, samples = batch([[[10.0, 12, 60, 70]], []])
    with heads.capture() as seen:
        student.loss(images, samples)
    features = teacher.extract_feat(images)
    assert heads.losses(seen, features) == {}
    outputs: Any = teacher.bbox_head(features)
    assert len(seen.importance) == len(outputs[0])
    for level, (cells, said) in enumerate(zip(seen.importance, outputs[0], strict=True)):
        assert cells.shape == (2, *said.shape[2:])
        surest = said.amax(dim=1) if head == "TOODHead" else said.amax(dim=1).sigmoid()
        if head == "YOLOXHead":  # which learns classes where objects are alone
            surest = surest * outputs[2][level][:, 0].sigmoid()
        torch.testing.assert_close(cells, surest.clamp(1e-6, 1 - 1e-6) if head == "TOODHead" else surest)
        assert not cells.requires_grad


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two stages": (lambda: two_stages(seed=2), r"must be between one-stage detectors with one of .* \(the teacher\)"),
    "a softmax": (
        lambda: tiny(
            "RetinaHead", overrides={"bbox_head.loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False}}
        ),
        r"must be between one-stage detectors that score with sigmoids \(the teacher\), but got 'RetinaHead with",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_teachers_are_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(BadInput, match=rf"^distill\.host sl2: {message}"):
        between("sl2", tiny("RetinaHead", 1), freeze(make()), weight=6.0, reduction="published")
