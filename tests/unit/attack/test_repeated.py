"""What an attack leaves out changes no bit of its result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ikd.attack import DIFGSM, difgsm, published
from ikd.attack.repeated import without_repetition
from ikd.detectors import build_detector, detector_config, freeze
from tests.marks import some
from tests.unit.attack.toys import noise_images, sample, tiny

BOXES = [[[4.0, 4.0, 36.0, 36.0], [20.0, 30.0, 60.0, 62.0]], [[8.0, 2.0, 50.0, 40.0]], []]


def samples() -> list[Any]:
    return [sample((64, 64), 1 + place, boxes) for place, boxes in enumerate(BOXES)]


def results(attack: DIFGSM, teacher: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    images = noise_images(3, 64, 64)
    short = attack(teacher, images, samples())
    with monkeypatch.context() as patch:
        for module in (difgsm, published):
            patch.setattr(module, "without_repetition", lambda *_, **__: contextlib.nullcontext())
        return short, attack(teacher, images, samples())


@pytest.mark.parametrize("loss", some(["feature_distance", "cls+reg", "cls"], 1))
@pytest.mark.parametrize("name", ["retinanet_r18", "atss_r18", "gfl_r18", "fcos_r18", "faster_rcnn_r18"])
def test_not_a_bit_of_the_result_changes(name: str, loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = results(DIFGSM(loss=loss, diversity_probability=0.5), tiny(name), monkeypatch)
    assert torch.equal(short, long)
    assert short.any()


def test_nor_of_the_published_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.equal(*results(DIFGSM(published=True), tiny("retinanet_r18"), monkeypatch))


@pytest.mark.parametrize(
    "config",
    [
        "pisa/retinanet-r50_fpn_pisa_1x_coco.py",
        "paa/paa_r50_fpn_1x_coco.py",
        "fsaf/fsaf_r50_fpn_1x_coco.py",
    ],
)
def test_nor_where_classes_depend_on_boxes(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 4},
        "neck.in_channels": [4, 8, 16, 32],
        "neck.out_channels": 32,
        "bbox_head.in_channels": 32,
        "bbox_head.feat_channels": 32,
        "bbox_head.stacked_convs": 1,
    }
    torch.manual_seed(0)
    teacher = freeze(build_detector(detector_config(f"mmdet::{config}", overrides=small, classes=["a", "b"])))
    assert torch.equal(*results(DIFGSM(steps=2), teacher, monkeypatch))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many images' targets are computed."""
    from mmdet.models.dense_heads import AnchorHead

    tiny("retinanet_r18")
    compute, found = AnchorHead._get_targets_single, [0]

    def counted(*arguments: Any, **named: Any) -> Any:
        found[0] += 1
        return compute(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(AnchorHead, "_get_targets_single", counted)
        yield found


def test_targets_of_an_image_that_stays_are_computed_once(asked: list[int]) -> None:
    teacher, images = tiny("retinanet_r18"), noise_images(3, 64, 64)
    DIFGSM(steps=4, diversity_probability=0)(teacher, images, samples())
    assert asked == [3]
    DIFGSM(steps=4, diversity_probability=1)(teacher, images, samples())
    assert asked == [3 + 3 * 4]


def test_draws_are_made_anew(asked: list[int]) -> None:
    """The RPN draws which anchors it learns from: its targets are computed at each step."""
    DIFGSM(steps=3, diversity_probability=0)(tiny("faster_rcnn_r18"), noise_images(3, 64, 64), samples())
    assert asked == [3 * 3]


def test_a_branch_that_no_class_depends_on_is_not_run() -> None:
    teacher, calls = tiny("retinanet_r18"), [0]

    def count(*_: Any) -> None:
        calls[0] += 1

    teacher.bbox_head.retina_reg.register_forward_hook(count)
    DIFGSM(steps=1)(teacher, noise_images(3, 64, 64), samples())
    assert calls == [0]
    DIFGSM(steps=1, loss="cls+reg")(teacher, noise_images(3, 64, 64), samples())
    assert calls[0] > 0


def test_the_teacher_is_left_as_it_was() -> None:
    teacher = tiny("retinanet_r18")
    head, before = teacher.bbox_head, list(teacher.state_dict())
    own = set(vars(head))
    with contextlib.suppress(ZeroDivisionError), without_repetition(teacher, samples(), classes_alone=True):
        assert "get_anchors" in vars(head)
        raise ZeroDivisionError
    assert set(vars(head)) == own
    assert list(teacher.state_dict()) == before
