"""The tapped convolutions, and captures that cannot mix."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch

from ikd.detectors import (
    SharedLevels,
    Taps,
    build_detector,
    detector_config,
    freeze,
    shared_levels,
    tap_channels,
    tap_names,
    tap_strides,
)
from ikd.errors import BadInput
from tests.unit.attack.toys import tiny

ONE_STAGE = ("atss_r18", "fcos_r18", "gfl_r18", "reppoints_r18", "retinanet_r18")
TWO_STAGE = ("cascade_rcnn_r18", "faster_rcnn_r18", "mask_rcnn_r18")
IMAGE = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def forward_hooks(detector: Any) -> int:
    return sum(len(module._forward_hooks) for module in detector.modules())


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        *((name, [8, 16, 32, 64, 128]) for name in ONE_STAGE),
        *((name, [4, 8, 16, 32]) for name in TWO_STAGE),  # P6 is pooled: no convolution
    ],
)
@pytest.mark.parametrize("more", [{}, {"backbone": "swin"}, {"backbone": "resnext", "depth": 50}])
def test_every_level_with_a_convolution_is_tapped(name: str, strides: list[int], more: dict[str, Any]) -> None:
    detector = tiny(name, **more)
    assert tap_names(detector) == [f"neck.fpn_convs.{level}.conv" for level in range(len(strides))]
    assert tap_strides(detector) == strides
    assert tap_channels(detector) == [16] * len(strides)


NECKS: list[dict[str, Any]] = [
    {"type": "FPN", "add_extra_convs": "on_input"},
    {"type": "FPN", "add_extra_convs": "on_lateral"},
    {"type": "FPN", "add_extra_convs": "on_output", "relu_before_extra_convs": True},
    {"type": "FPN", "add_extra_convs": False},
    {"type": "FPN", "start_level": 1, "end_level": 2, "num_outs": 2},
    {"type": "FPN_CARAFE", "upsample_cfg": {"type": "nearest"}},
    {"type": "HRFPN"},
]


@pytest.mark.parametrize("neck", NECKS)
def test_without_norm_tap_l_is_neck_output_l(neck: dict[str, Any]) -> None:
    full = {"in_channels": [4, 8, 16, 32], "out_channels": 16, "num_outs": 5, **neck}
    config = detector_config(
        "ikd::faster_rcnn_r18", arguments={"base_channels": 4}, overrides={"neck": full}, classes=["a"]
    )
    detector: Any = build_detector(config)
    with Taps(detector).capture() as features:
        outputs = detector.extract_feat(IMAGE)
    assert len(features) >= (4 if "end_level" not in neck else 2)
    assert all(torch.equal(feature, output) for feature, output in zip(features, outputs, strict=False))


def test_with_norm_the_tap_comes_before_it() -> None:
    norm = {"neck.norm_cfg": {"type": "GN", "num_groups": 2, "requires_grad": True}}
    arguments = {"base_channels": 4, "neck_channels": 16, "levels": 3}
    config = detector_config("ikd::gfl_r18", arguments=arguments, overrides=norm, classes=["a"])
    detector: Any = build_detector(config)
    with Taps(detector).capture() as features:
        outputs = detector.extract_feat(IMAGE)
    for level, (feature, output) in enumerate(zip(features, outputs, strict=True)):
        assert not torch.equal(feature, output)
        torch.testing.assert_close(detector.neck.fpn_convs[level].gn(feature), output)


def test_branches_cannot_mix() -> None:
    detector = tiny("retinanet_r18")
    taps = Taps(detector)
    with taps.capture() as outer:
        with taps.capture() as inner:
            detector.extract_feat(IMAGE * 2)
        detector.extract_feat(IMAGE)
    with taps.capture() as alone:
        detector.extract_feat(IMAGE)
    assert all(torch.equal(one, other) for one, other in zip(outer, alone, strict=True))
    assert not torch.equal(inner[0], outer[0])


def test_one_capture_takes_exactly_one_forward() -> None:
    detector = tiny("retinanet_r18")
    taps = Taps(detector)
    with taps.capture():
        detector.extract_feat(IMAGE)
        with pytest.raises(RuntimeError, match="ran twice in one capture"):
            detector.extract_feat(IMAGE)
    with pytest.raises(RuntimeError, match=r"no forward reached neck\.fpn_convs\.0\.conv"), taps.capture():
        pass
    with pytest.raises(KeyError), taps.capture():
        raise KeyError  # what happens inside is what is reported
    assert forward_hooks(detector) == 0


def test_nothing_stays_in_the_detector() -> None:
    detector = tiny("retinanet_r18")
    keys = list(detector.state_dict())
    taps = Taps(detector)
    with taps.capture() as features:
        detector.extract_feat(IMAGE)
        copied = copy.deepcopy(detector)
    assert forward_hooks(detector) == 0
    assert list(detector.state_dict()) == keys
    kept = features[0].clone()
    copied.extract_feat(IMAGE * 3)
    assert torch.equal(features[0], kept)


def test_gradients_flow_through_the_student_only() -> None:
    torch.manual_seed(0)
    arguments = {"base_channels": 4, "neck_channels": 16}
    student: Any = build_detector(detector_config("ikd::retinanet_r18", arguments=arguments, classes=["a"]))
    teacher = tiny("retinanet_r18")
    with Taps(student).capture() as ours, Taps(teacher).capture() as theirs:
        student.extract_feat(IMAGE.repeat(2, 1, 1, 1))
        teacher.extract_feat(IMAGE.repeat(2, 1, 1, 1))
    assert all(feature.requires_grad for feature in ours)
    assert not any(feature.requires_grad for feature in theirs)


def test_measuring_strides_leaves_modes_and_statistics() -> None:
    torch.manual_seed(0)
    arguments = {"base_channels": 4, "neck_channels": 16}
    student: Any = build_detector(detector_config("ikd::retinanet_r18", arguments=arguments, classes=["a"]))
    student.train()
    student.bbox_head.eval()
    before = {key: value.clone() for key, value in student.state_dict().items()}
    tap_strides(student)
    assert student.backbone.bn1.training
    assert not student.bbox_head.training
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())


DENSE, ROI = (8, 16, 32, 64, 128), (4, 8, 16, 32)


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ("retinanet_r18", "gfl_r18", ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), DENSE, DENSE, DENSE)),
        ("fcos_r18", "cascade_rcnn_r18", SharedLevels((0, 1, 2), (1, 2, 3), (8, 16, 32), DENSE, ROI)),
        ("faster_rcnn_r18", "retinanet_r18", SharedLevels((1, 2, 3), (0, 1, 2), (8, 16, 32), ROI, DENSE)),
        (
            "mask_rcnn_r18",
            "cascade_rcnn_r18",
            SharedLevels((0, 1, 2, 3), (0, 1, 2, 3), ROI, ROI, ROI),
        ),
    ],
)
def test_levels_are_matched_by_stride(student: str, teacher: str, expected: SharedLevels) -> None:
    pair: tuple[Any, Any] = tiny(student), freeze(tiny(teacher, neck_channels=32))
    shared = shared_levels(*pair)
    assert shared == expected
    maps = [detector.extract_feat(IMAGE) for detector in pair]
    for ours, theirs, stride in zip(shared.student, shared.teacher, shared.strides, strict=True):
        side = -(-64 // stride)
        assert maps[0][ours].shape[-2:] == maps[1][theirs].shape[-2:] == (side, side)


def test_a_level_more_on_one_side_is_left_out() -> None:
    assert shared_levels(tiny("retinanet_r18"), tiny("retinanet_r18", levels=4)).strides == (8, 16, 32, 64)


def test_pairs_without_a_common_stride_are_refused() -> None:
    only_p2 = {"neck.start_level": 0, "neck.end_level": 0, "neck.num_outs": 1}
    config = detector_config("ikd::faster_rcnn_r18", arguments={"base_channels": 4}, overrides=only_p2, classes=["a"])
    with pytest.raises(BadInput) as error:
        shared_levels(tiny("retinanet_r18"), build_detector(config))
    expected = r"share no level .*: RetinaNet has strides \[8, 16, 32, 64, 128\], FasterRCNN has \[4\]"
    assert re.search(expected, str(error.value))


def test_detectors_without_such_a_pyramid_are_refused() -> None:
    pafpn = detector_config(
        "ikd::retinanet_r18",
        arguments={"base_channels": 4, "neck_channels": 16},
        overrides={"neck.type": "PAFPN"},
        classes=["a"],
    )
    with pytest.raises(BadInput, match="RetinaNet has the neck PAFPN, whose outputs are not those of one convolution"):
        tap_names(build_detector(pafpn))
    detector = tiny("retinanet_r18")
    del detector.neck.fpn_convs[2].conv
    with pytest.raises(BadInput, match="RetinaNet: its neck FPN has an output without a convolution"):
        tap_names(detector)
    detector.neck = None
    with pytest.raises(BadInput, match="RetinaNet has no neck"):
        tap_names(detector)
    with pytest.raises(BadInput, match=r"no module called 'neck\.fpn'"):
        Taps(tiny("retinanet_r18"), ["neck.fpn"])
