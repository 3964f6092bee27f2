"""Loading, inheriting and freezing."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from torch import nn

from ikd.detectors import Checkpoint, build_detector, detector_config, freeze, inherit, load_weights, weights_sha256
from ikd.errors import BadInput, CheckpointError

CLASSES = ("cat", "dog", "bird")


def detector(name: str = "retinanet_r18", seed: int = 0, classes: tuple[str, ...] = CLASSES, **arguments: Any) -> Any:
    torch.manual_seed(seed)
    arguments = {"base_channels": 4, "neck_channels": 16, **arguments}
    return build_detector(detector_config(f"ikd::{name}", arguments=arguments, classes=classes))


def checkpoint(model: nn.Module, classes: tuple[str, ...] | None = CLASSES) -> Checkpoint:
    return Checkpoint(copy.deepcopy(model.state_dict()), classes, "0" * 64, "teacher.pth")


def test_loads_what_was_saved() -> None:
    source, target = detector(seed=0), detector(seed=1)
    assert weights_sha256(source) != weights_sha256(target)
    load_weights(target, checkpoint(source), classes=CLASSES)
    assert weights_sha256(source) == weights_sha256(target)
    load_weights(target, checkpoint(source, classes=None), classes=CLASSES)


def test_modules_are_told_which_version_of_them_saved_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    target, told = detector(seed=1), []
    saved = checkpoint(detector(seed=0))
    plain = nn.BatchNorm2d._load_from_state_dict

    def load(self: Any, state: Any, prefix: str, local: Any, *rest: Any) -> None:
        told.append(local.get("version"))
        plain(self, state, prefix, local, *rest)

    monkeypatch.setattr(nn.BatchNorm2d, "_load_from_state_dict", load)
    load_weights(target, saved, classes=CLASSES)
    assert set(told) == {2}, "torch's own, by which mmcv's layers rename what was called otherwise"


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("dog", "cat", "bird"), "the same classes in another order: class 0 is 'dog' there, 'cat' in the data set"),
        (("cat", "dog", "fish"), "only in the checkpoint: fish; only in the data set: bird"),
        (
            ("cat", "dog"),
            "trained for 2 classes, the data set has 3; only in the checkpoint: none; only in the data set: bird",
        ),
    ],
)
def test_other_classes_are_named_before_shapes(classes: tuple[str, ...], message: str) -> None:
    source, target = detector(classes=("x", "y")), detector()
    with pytest.raises(CheckpointError) as error:
        load_weights(target, checkpoint(source, classes), classes=CLASSES)
    assert message in str(error.value)
    assert "teacher.pth" in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            lambda: detector(neck_channels=32),
            "neck.lateral_convs.0.conv.weight is (32, 8, 1, 1), the detector has (16, 8, 1, 1)",
        ),
        (lambda: detector("gfl_r18"), "is of another architecture"),
        (
            lambda: detector(tower_convs=2),
            "(0 keys missing, 4 unexpected): unexpected bbox_head.cls_convs.1.conv.weight",
        ),
        (lambda: detector(tower_convs=0), "is of another architecture"),
    ],
)
def test_another_architecture_changes_nothing(source: Any, message: str) -> None:
    target = detector(seed=5)
    before = weights_sha256(target)
    with pytest.raises(CheckpointError) as error:
        load_weights(target, checkpoint(source()), classes=CLASSES)
    assert message in str(error.value)
    assert weights_sha256(target) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["bbox_head.retina_cls.weight", "backbone.bn1.running_var"])
def test_weights_that_are_not_finite_are_refused(key: str, value: float) -> None:
    target, broken = detector(seed=5), checkpoint(detector())
    before = weights_sha256(target)
    broken.state_dict[key].view(-1)[3] = value
    size = broken.state_dict[key].numel()
    with pytest.raises(CheckpointError, match=rf"not finite \(NaN or infinite\): 1 of {size} values of {key}$"):
        load_weights(target, broken, classes=CLASSES)
    assert weights_sha256(target) == before


def test_what_a_new_detector_has_so_too_may_be_infinite() -> None:
    target, given = (detector(seed=seed) for seed in (5, 6))
    for one in (target, given):
        one.register_buffer("limit", torch.tensor([0.0, float("inf")]))
    load_weights(target, checkpoint(given), classes=CLASSES)


@pytest.mark.parametrize("name", ["retinanet_r18", "faster_rcnn_r18"])
@pytest.mark.parametrize("count", [2, 7, 80])
def test_another_number_of_classes_is_told_from_the_heads(name: str, count: int) -> None:
    theirs = detector(name, classes=tuple(map(str, range(count))))
    rule = rf"seems to be trained for {count} classes, and not for 3 \(cat, dog, bird\)"
    with pytest.raises(CheckpointError, match=rule):
        load_weights(detector(name), checkpoint(theirs, None), classes=CLASSES)


@pytest.mark.parametrize(
    ("field", "value"),
    [("std", [0, 0, 0]), ("std", [58.4, -57.1, 57.4]), ("std", [float("nan")] * 3), ("mean", [0, float("inf"), 0])],
)
def test_a_preprocessor_that_makes_no_numbers_is_refused(field: str, value: list[float]) -> None:
    config = detector_config("ikd::retinanet_r18", overrides={f"data_preprocessor.{field}": value}, classes=CLASSES)
    with pytest.raises(BadInput, match=rf"RetinaNet: data_preprocessor\.{field}: must be finite"):
        build_detector(config)


def test_names_of_older_mmdet_are_translated() -> None:
    source, target = detector("fcos_r18", seed=0), detector("fcos_r18", seed=1)
    renamed = {
        key.replace("conv_cls", "fcos_cls").replace("conv_reg", "fcos_reg"): value
        for key, value in source.state_dict().items()
    }
    assert any("fcos_cls" in key for key in renamed)
    load_weights(target, Checkpoint(renamed, CLASSES, "0" * 64, "old.pth"), classes=CLASSES)
    assert weights_sha256(source) == weights_sha256(target)


def test_deformable_weights_load_without_a_line_for_each() -> None:
    from mmengine.logging import MMLogger

    source, target = (detector("reppoints_r18", seed=seed, depth=50, deformable=True) for seed in (0, 1))
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[assignment,method-assign]
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    load_weights(target, checkpoint(source), classes=CLASSES)
    logger.removeHandler(handler)
    assert weights_sha256(source) == weights_sha256(target)
    assert said == []


def test_inherit_copies_all_but_the_backbone() -> None:
    student, teacher = detector(seed=0), detector(seed=1, depth=34)
    backbone = {key: value.clone() for key, value in student.backbone.state_dict().items()}
    names = inherit(student, teacher)
    assert names == [key for key in student.state_dict() if not key.startswith("backbone.")]
    assert len(names) > 10
    theirs = teacher.state_dict()
    assert all(torch.equal(student.state_dict()[name], theirs[name]) for name in names)
    assert all(torch.equal(value, backbone[key]) for key, value in student.backbone.state_dict().items())
    with torch.no_grad():
        student.bbox_head.retina_cls.weight += 1
    assert not torch.equal(student.bbox_head.retina_cls.weight, teacher.bbox_head.retina_cls.weight)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (
            lambda: detector(neck_channels=32),
            "neck.lateral_convs.0.conv.weight is (16, 8, 1, 1) in the student, (32, 8, 1, 1)",
        ),
        (lambda: detector("gfl_r18"), "only the student has bbox_head.retina_cls.weight"),
        (lambda: detector(tower_convs=2), "only the teacher has bbox_head.cls_convs.1.conv.weight"),
    ],
)
def test_inherit_refuses_other_heads(teacher: Any, message: str) -> None:
    student = detector(seed=5)
    before = weights_sha256(student)
    with pytest.raises(BadInput) as error:
        inherit(student, teacher())
    assert message in str(error.value)
    assert weights_sha256(student) == before


def test_inherit_from_a_wider_backbone_leaves_what_reads_it() -> None:
    student, teacher = detector(seed=0), detector(seed=1, base_channels=8)
    before = copy.deepcopy(student.state_dict())
    names = inherit(student, teacher)
    kept = [key for key in before if not key.startswith("backbone.") and key not in names]
    # the laterals of C3 to C5, and P6, which RetinaNet computes from C5
    readers = [*(f"neck.lateral_convs.{level}.conv" for level in range(3)), "neck.fpn_convs.3.conv"]
    assert kept == [f"{module}.{part}" for module in readers for part in ("weight", "bias")]
    assert all(torch.equal(student.state_dict()[key], before[key]) for key in kept)
    assert all(torch.equal(student.state_dict()[key], teacher.state_dict()[key]) for key in names)


@pytest.mark.parametrize(
    ("name", "teacher"),
    [
        ("retinanet_r18", {"backbone": "resnext", "depth": 50}),
        ("reppoints_r18", {"backbone": "resnext", "depth": 50, "deformable": True}),
        ("gfl_r18", {"backbone": "resnext", "depth": 50}),
        ("fcos_r18", {"backbone": "resnext", "depth": 50}),
        ("atss_r18", {"depth": 34}),
        ("faster_rcnn_r18", {"depth": 34}),
    ],
)
def test_pairs_of_one_head_inherit(name: str, teacher: dict[str, Any]) -> None:
    student, big = detector(name, seed=0), detector(name, seed=1, **teacher)
    copied = inherit(student, big)
    outside = [key for key in student.state_dict() if not key.startswith(("backbone.", "neck."))]
    assert set(outside) <= set(copied)
    assert all(torch.equal(student.state_dict()[key], big.state_dict()[key]) for key in copied)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (
            "mask_rcnn_r18",
            {"masks": True},
            "MaskRCNN cannot inherit from CascadeRCNN: neck and head must be the same; only the student has "
            "roi_head.bbox_head.fc_cls.weight",
        ),
        ("faster_rcnn_r18", {}, "FasterRCNN cannot inherit from CascadeRCNN"),
    ],
)
def test_a_cascade_hands_nothing_down(student: str, teacher: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        inherit(detector(student), detector("cascade_rcnn_r18", **teacher))
    assert message in str(error.value)
    assert "set inherit: false" in str(error.value)


def test_a_frozen_teacher_cannot_be_woken() -> None:
    teacher: Any = freeze(detector())
    before = weights_sha256(teacher)
    parent = nn.ModuleDict({"teacher": teacher, "student": nn.BatchNorm2d(1)})
    parent.train()
    teacher.train()
    assert parent["student"].training
    assert not any(module.training for module in teacher.modules())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    copied = copy.deepcopy(teacher)
    assert copied.train() is copied
    assert not any(module.training for module in copied.modules())
    teacher.extract_feat(torch.randn(2, 3, 64, 64))
    assert weights_sha256(teacher) == before
