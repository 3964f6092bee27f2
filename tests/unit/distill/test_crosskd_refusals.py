"""Heads that CrossKD cannot join, refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from ikd.detectors import build_detector, detector_config, freeze
from ikd.distill.crosskd.fit import check_heads
from ikd.distill.crosskd.heads import CrossHeads
from ikd.distill.crosskd.rows import CROSSED
from ikd.errors import BadInput
from tests.unit.distill.heads import FAMILIES, built, hyperparameters, tiny

LD = {"type": "KnowledgeDistillationKLDivLoss", "loss_weight": 0.25, "T": 10}
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "position above the tower": (
        {"tower_convs": 1},
        {},
        r"position: must be 0\.\.1, because the towers of the student",
    ),
    "position above the teacher's": ({}, {"tower_convs": 1}, r"must be 0\.\.1, because the towers of the teacher's"),
    "family": (
        {"family": "GFLHead"},
        {},
        "head families must be equal, but the student has GFLHead, the teacher Retina",
    ),
    "classes": ({"num_classes": 2}, {}, "numbers of classes must be equal, but the student has 2, the teacher 3"),
    "levels": ({"levels": 4}, {}, r"strides of the levels must be equal.*neck\.num_outs"),
    "anchors": ({"anchor_scale": 8.0}, {}, "anchors must be equal.*give the student the teacher's anchor_generator"),
    "box coder": (
        {"overrides": {"bbox_head.bbox_coder.target_stds": [0.1, 0.1, 0.2, 0.2]}},
        {},
        r"box coders must be equal.*\[0\.1, 0\.1, 0\.2, 0\.2\].*give the student the teacher's bbox_coder",
    ),
    "reg_max": (
        {"family": "GFLHead", "overrides": {"bbox_head.reg_max": 8}},
        {"family": "GFLHead"},
        "reg_max must be equal, but the student has 8, the teacher 16",
    ),
    "softmax": (
        {"overrides": {"bbox_head.loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False}}},
        {},
        "the student's RetinaHead scores with a softmax",
    ),
    "subclass": (
        {"family": "GFLHead", "overrides": {"bbox_head.type": "LDHead", "bbox_head.loss_ld": LD}},
        {"family": "GFLHead"},
        "the student has a LDHead; CrossKD needs one of ATSSHead, DDODHead, FCOSHead, GFLHead, PAAHead",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unfit_heads_are_refused(case: str) -> None:
    ours, theirs, message = REFUSED[case]
    student, teacher = (tiny(**({"family": "RetinaHead"} | changes)) for changes in (ours, theirs))
    with pytest.raises(BadInput, match=message):
        CrossHeads(student, freeze(teacher), **hyperparameters(position=2))


def test_two_stage_detectors_are_refused() -> None:
    arguments = {"base_channels": 8, "neck_channels": 16}
    two_stage = build_detector(detector_config("ikd::faster_rcnn_r18", arguments=arguments, classes=["a", "b", "c"]))
    one_stage = built("RetinaHead", 1)
    with pytest.raises(BadInput, match="the teacher is a FasterRCNN, which has no single dense head"):
        check_heads(one_stage, two_stage, position=1)
    with pytest.raises(BadInput, match="the student is a FasterRCNN"):
        check_heads(two_stage, one_stage, position=1)


def test_fitting_heads_give_what_is_done_for_their_kind() -> None:
    for name in FAMILIES:
        assert check_heads(built(name, 1), built(name, 2), position=1) is CROSSED[name]


def test_negative_position_is_refused() -> None:
    with pytest.raises(BadInput, match=r"distill\.crosskd\.position: must be 0\.\.2.*but got -1"):
        check_heads(built("FCOSHead", 1), built("FCOSHead", 2), position=-1)
