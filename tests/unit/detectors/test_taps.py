"""The tapped convolutions, and captures that cannot mix."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch

from ikd.detectors import (
    Level,
    Taps,
    build_detector,
    detector_config,
    freeze,
    paired_levels,
    shared_levels,
    tap_channels,
    tap_levels,
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
        ("fcos_r18", "cascade_rcnn_r18", ((0, 1, 2), (1, 2, 3), (8, 16, 32), DENSE, ROI)),
        ("faster_rcnn_r18", "retinanet_r18", ((1, 2, 3), (0, 1, 2), (8, 16, 32), ROI, DENSE)),
        ("mask_rcnn_r18", "cascade_rcnn_r18", ((0, 1, 2, 3), (0, 1, 2, 3), ROI, ROI, ROI)),
    ],
)
def test_levels_are_matched_by_stride(student: str, teacher: str, expected: tuple[tuple[int, ...], ...]) -> None:
    pair: tuple[Any, Any] = tiny(student), freeze(tiny(teacher, neck_channels=32))
    shared = shared_levels(*pair)
    assert (shared.student, shared.teacher, shared.strides) == expected[:3]
    assert (shared.student_strides, shared.teacher_strides) == expected[3:]
    assert [level.channels for level in shared.of_student] == [16] * len(shared.student)
    assert [level.channels for level in shared.of_teacher] == [32] * len(shared.teacher)
    assert [level.output for level in shared.of_teacher] == list(shared.teacher)
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


def test_a_neck_without_such_convolutions_is_read_at_what_it_puts_out() -> None:
    pafpn = detector_config(
        "ikd::retinanet_r18",
        arguments={"base_channels": 4, "neck_channels": 16},
        overrides={"neck.type": "PAFPN"},
        classes=["a"],
    )
    detector: Any = build_detector(pafpn)
    assert tap_names(detector) == ["neck"]
    assert tap_strides(detector) == list(DENSE)
    with Taps(detector).capture() as features:
        outputs = detector.extract_feat(IMAGE)
    assert all(one is other for one, other in zip(features, outputs, strict=True))
    detector = tiny("retinanet_r18")
    del detector.neck.fpn_convs[2].conv
    assert tap_names(detector) == ["neck"]
    detector.neck = None
    assert tap_names(detector) == ["backbone"]


def test_an_output_is_what_follows_the_norm() -> None:
    norm = {"neck.norm_cfg": {"type": "GN", "num_groups": 2, "requires_grad": True}}
    arguments = {"base_channels": 4, "neck_channels": 16, "levels": 3}
    config = detector_config("ikd::gfl_r18", arguments=arguments, overrides=norm, classes=["a"])
    detector: Any = build_detector(config)
    with Taps(detector, "outputs").capture() as features:
        outputs = detector.extract_feat(IMAGE)
    assert all(one is other for one, other in zip(features, outputs, strict=True))


def test_named_modules_are_read_as_they_give_their_maps() -> None:
    names = ["backbone.layer3", "backbone.layer2.0.bn2", "backbone.conv1"]
    detector = tiny("retinanet_r18")
    levels = tap_levels(detector, names)
    assert [(level.channels, level.stride, level.output) for level in levels] == [(16, 16, 1), (8, 8, 0), (4, 2, None)]
    seen: list[Any] = []
    hook = detector.backbone.layer2[0].bn2.register_forward_hook(lambda *of: seen.append(of[2].clone()))
    with Taps(detector, names).capture() as features:
        detector.extract_feat(IMAGE)
    hook.remove()
    assert torch.equal(features[1], seen[0])  # the layer behind it adds to this tensor in place


def test_a_module_that_is_not_there_or_gives_no_maps_is_refused() -> None:
    detector = tiny("retinanet_r18")
    with pytest.raises(BadInput, match=r"no module called 'neck\.fpn_conv'; nearest: .*neck\.fpn_convs"):
        Taps(detector, ["neck.fpn_conv"])
    detector.backbone.nothing = torch.nn.Flatten()
    forward = detector.backbone.forward
    detector.backbone.forward = lambda x: (detector.backbone.nothing(x), forward(x))[1]
    with pytest.raises(BadInput, match=r"backbone\.nothing must give one map .* but it gives a tensor of 2"):
        tap_levels(detector, ["backbone.nothing"])
    with pytest.raises(BadInput, match="RetinaNet has no transformer with an encoder; take auto or outputs"):
        Taps(detector, "encoder")
    with pytest.raises(BadInput, match=r"RetinaNet cannot be read at bbox_head\.retina_cls: only what runs when maps"):
        tap_levels(detector, ["bbox_head.retina_cls"])


def test_index_pairs_the_finest_whatever_the_order_of_a_neck() -> None:
    ours = [Level(8, 32, 0), Level(8, 16, 1), Level(8, 8, 2)]
    theirs = [Level(4, 4, 0), Level(4, 0, 1), Level(4, 8, 2), Level(4, 8, 3)]
    shared = paired_levels(ours, theirs, "index", ("A", "B"))
    assert (shared.student, shared.teacher) == ((2, 1, 0), (0, 2, 3))
    shared = paired_levels(ours, theirs, "stride", ("A", "B"))
    assert (shared.student, shared.teacher, shared.strides) == ((2,), (3,), (8,))


FAMILIES: dict[str, tuple[dict[str, Any], list[str], list[tuple[int, int]]]] = {
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py": (
        {},
        [f"neck.out_convs.{level}.conv" for level in range(3)],
        [(96, 8), (96, 16), (96, 32)],
    ),
    "yolox/yolox_nano_8xb8-300e_coco.py": (
        {"neck.use_depthwise": True},
        [f"neck.out_convs.{level}.conv" for level in range(3)],
        [(64, 8), (64, 16), (64, 32)],
    ),
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py": (
        {"encoder.num_layers": 1, "decoder.num_layers": 1},
        [*(f"neck.convs.{level}.conv" for level in range(3)), "neck.extra_convs.0.conv"],
        [(256, 8), (256, 16), (256, 32), (256, 64)],
    ),
    "yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py": ({}, ["neck"], [(96, 32), (96, 16), (96, 8)]),
    "ssd/ssd300_coco.py": (
        {},
        ["neck"],
        [(512, 8), (1024, 16), (512, 32), (256, 64), (256, 0), (256, 0)],  # of unpadded convolutions
    ),
    "libra_rcnn/libra-retinanet_r50_fpn_1x_coco.py": ({}, ["neck"], [(256, stride) for stride in DENSE]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_the_zoo_are_read_where_papers_read_them(name: str) -> None:
    overrides, names, levels = FAMILIES[name]
    detector = build_detector(detector_config(f"mmdet::{name}", overrides=overrides, classes=["a"]))
    assert tap_names(detector) == names
    assert [(level.channels, level.stride) for level in tap_levels(detector)] == levels
    assert [level.output for level in tap_levels(detector)] == list(range(len(levels)))


@pytest.mark.parametrize(
    "name", ["deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", "detr/detr_r50_8xb2-150e_coco.py"]
)
def test_the_memory_of_an_encoder_is_cut_into_maps(name: str) -> None:
    layers = {"encoder.num_layers": 1, "decoder.num_layers": 1, "encoder.layer_cfg.ffn_cfg.feedforward_channels": 32}
    detector: Any = freeze(build_detector(detector_config(f"mmdet::{name}", overrides=layers, classes=["a"])))
    memories: list[Any] = []
    hook = detector.encoder.register_forward_hook(lambda *of: memories.append(of[2]))
    taps = Taps(detector, "encoder")
    with taps.capture() as maps, torch.no_grad():
        outputs = taps.forward(torch.randn(2, 3, 64, 96), [(64, 96), (40, 90)])
    hook.remove()
    assert [one.shape for one in maps] == [one.shape for one in outputs]
    assert torch.equal(torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1), memories[0])
    assert not any(torch.equal(one, other) for one, other in zip(maps, outputs, strict=True))


class Branching(torch.nn.Module):
    """A backbone as TridentNet's: three branches behind one another in training, one of them at test time."""

    num_branch, test_branch_idx = 3, 1

    def forward(self, images: torch.Tensor) -> Any:
        return [torch.cat([images + 10 * branch for branch in (range(3) if self.training else [1])])]


def test_of_several_branches_the_one_that_predicts_is_read() -> None:
    detector: Any = torch.nn.Module()
    detector.backbone = Branching()
    taps, images = Taps(detector), torch.arange(2.0).view(2, 1, 1, 1)
    for training in (True, False):
        detector.train(training)
        with taps.capture() as features:
            detector.backbone(images)
        assert features[0].flatten().tolist() == [10, 11]
