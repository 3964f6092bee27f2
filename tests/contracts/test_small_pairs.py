"""Each pair of families of the papers, made small, takes a training step with every loss that applies."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.config import LOSSES
from ikd.detectors import Taps, build_detector, detector_config, freeze
from ikd.distill.crosskd.heads import CrossHeads
from ikd.distill.response import HEADS, between
from ikd.errors import BadInput
from tests.unit.detectors.batches import batch, summed, total
from tests.unit.distill.heads import hyperparameters

SIDE = 96
RESNEXT = {"backbone": "resnext", "depth": 50}
CASCADE = {"depth": 50, "masks": True}
# name: student, teacher, the teacher's arguments
PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "retinanet from x": ("retinanet_r18", "retinanet_r18", RESNEXT),
    "gfl from x": ("gfl_r18", "gfl_r18", RESNEXT),
    "atss from r": ("atss_r18", "atss_r18", {"depth": 34}),
    "fcos from x": ("fcos_r18", "fcos_r18", RESNEXT),
    "reppoints from deformable x": ("reppoints_r18", "reppoints_r18", {**RESNEXT, "deformable": True}),
    "faster_rcnn from r": ("faster_rcnn_r18", "faster_rcnn_r18", {"depth": 34}),
    "mask_rcnn from deformable cascade x": (
        "mask_rcnn_r18",
        "cascade_rcnn_r18",
        {**CASCADE, "backbone": "resnext", "deformable": True},
    ),
    "faster_rcnn from swin": ("faster_rcnn_r18", "mask_rcnn_r18", {"backbone": "swin"}),
    "retinanet from swin": ("retinanet_r18", "mask_rcnn_r18", {"backbone": "swin", "depth": 34}),
    "fcos from swin": ("fcos_r18", "mask_rcnn_r18", {"backbone": "swin"}),
    "retinanet from cascade": ("retinanet_r18", "cascade_rcnn_r18", CASCADE),
    "fcos from cascade": ("fcos_r18", "cascade_rcnn_r18", CASCADE),
    "faster_rcnn from retinanet": ("faster_rcnn_r18", "retinanet_r18", RESNEXT),
    "fcos from retinanet": ("fcos_r18", "retinanet_r18", RESNEXT),
    "fcos from gfl": ("fcos_r18", "gfl_r18", RESNEXT),
    "faster_rcnn from fcos": ("faster_rcnn_r18", "fcos_r18", RESNEXT),
    "gfl from fcos": ("gfl_r18", "fcos_r18", RESNEXT),
    "retinanet from fcos": ("retinanet_r18", "fcos_r18", RESNEXT),
}
FEATURE_LOSSES = sorted(name for name, section in LOSSES.items() if section.reads_maps)
SCORES = sorted({*HEADS} - {"crosskd", "sl2"})  # which has no loss of its own between heads: it weighs cells
_TOGETHER = [
    (loss, pair, (one + other) % 4) for one, loss in enumerate(FEATURE_LOSSES) for other, pair in enumerate(PAIRS)
]
EVERY = [pytest.param(loss, pair, marks=[pytest.mark.slow] if turn else []) for loss, pair, turn in _TOGETHER]
"""Every loss between every pair; each loss with each fourth pair, and each pair with each fourth loss, always runs."""


def small(name: str, arguments: dict[str, Any], seed: int) -> Any:
    torch.manual_seed(seed)
    config = detector_config(f"ikd::{name}", arguments={"base_channels": 4, **arguments}, classes=["a", "b"])
    return build_detector(config)


@cache
def pair_of(name: str) -> tuple[Any, Any]:
    """Student and frozen teacher; a teacher of another family has other channels, so that the adapter is there too."""
    student, teacher, arguments = PAIRS[name]
    channels = 16 if student == teacher else 24
    return small(student, {"neck_channels": 16}, 0), freeze(small(teacher, {"neck_channels": channels, **arguments}, 1))


def step(student: Any, term: Tensor, own: dict[str, Any]) -> None:
    """Train on the detector's own losses and a term, and check that the term reaches the whole backbone."""
    weights = list(student.parameters())
    first = next(student.backbone.parameters())
    (through,) = torch.autograd.grad(term, first, retain_graph=True)
    assert through.abs().sum() > 0
    before = [weight.detach().clone() for weight in weights]
    student.zero_grad()
    (total(own) + term).backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in weights)
    torch.optim.SGD(weights, lr=1e-6).step()
    assert not torch.equal(first, before[0])
    with torch.no_grad():
        for weight, old in zip(weights, before, strict=True):  # the pair is used again
            weight.copy_(old)


@pytest.mark.parametrize(("loss", "pair"), EVERY)
def test_a_step_with_every_loss(pair: str, loss: str) -> None:
    student, teacher = pair_of(pair)
    images, samples = batch(SIDE, count=3)  # of fewer objects there are no relations
    student.train()
    with Taps(student).capture() as ours:
        own = student.loss(images, samples)
    with torch.no_grad(), Taps(teacher).capture() as theirs:
        teacher.extract_feat(images)
    term = summed(loss, (student, teacher), (ours, theirs), samples, SIDE)
    assert term.isfinite()
    assert term > 0
    step(student, term, own)
    assert all(weight.grad is None for weight in teacher.parameters())


@pytest.mark.parametrize("pair", ["retinanet from x", "gfl from x", "atss from r", "fcos from x"])
def test_a_step_with_crosskd_between_equal_heads(pair: str) -> None:
    student, teacher = pair_of(pair)
    heads = CrossHeads(student, teacher, **hyperparameters(position=1))
    images, samples = batch(SIDE)
    student.train()
    with heads.capture() as seen:
        own = student.loss(images, samples)
    with torch.no_grad():
        outputs = teacher.extract_feat(images)
    terms = heads.losses(seen, outputs)
    assert {"loss_crosskd_cls", "loss_crosskd_reg"} <= set(terms)
    step(student, total(terms), own)


EQUAL = ["retinanet from x", "gfl from x", "atss from r", "fcos from x", "faster_rcnn from r", "faster_rcnn from swin"]


@pytest.mark.parametrize("pair", EQUAL)
@pytest.mark.parametrize("host", SCORES)
def test_a_step_with_class_scores_of_equal_heads(host: str, pair: str) -> None:
    if (host, pair) == ("gid", "fcos from x"):
        pytest.skip("an untrained FCOS draws boxes of two pixels, in which no point of the finest level lies")
    student, teacher = pair_of(pair)
    heads = between(host, student, teacher, **LOSSES[host]().model_dump(), reduction="published")
    images, samples = batch(SIDE)
    student.train()
    with heads.capture() as seen:
        own = student.loss(images, samples)
    with torch.no_grad():
        outputs = teacher.extract_feat(images)
    terms = heads.losses(seen, outputs)
    assert terms
    assert all(term > 0 for term in terms.values())
    step(student, total(terms), own)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("retinanet from cascade", "the teacher is a CascadeRCNN, which has no single dense head"),
        ("fcos from swin", "the teacher is a MaskRCNN, which has no single dense head"),
        ("gfl from fcos", "the student has GFLHead, the teacher FCOSHead"),
        ("faster_rcnn from r", "the student is a FasterRCNN, which has no single dense head"),
    ],
)
def test_crosskd_is_refused_between_other_heads(pair: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        CrossHeads(*pair_of(pair), **hyperparameters(position=1))
