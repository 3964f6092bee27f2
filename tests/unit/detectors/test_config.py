"""From names, files and dicts to model configs."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.detectors import boxes_only, build_detector, detector_config, quiet, tap_strides, weights_sha256
from ikd.detectors.zoo import ZOO
from ikd.detectors.zoo.small import SmallDetector
from ikd.errors import BadInput
from tests.unit.detectors.batches import batch, total

CLASSES = ("a", "b", "c")
CSP = ("rtmdet", "yolox")
"""Families with a backbone, and sizes, of their own."""
RETINANET = "mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"


def parameters(name: str, **arguments: Any) -> int:
    detector = build_detector(detector_config(f"ikd::{name}", arguments=arguments, classes=CLASSES))
    return sum(weight.numel() for weight in detector.parameters())


def test_default_retinanet_has_the_size_it_says() -> None:
    assert 1.04e6 < parameters("retinanet_r18") < 1.06e6


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_argument_acts(name: str) -> None:
    changes: dict[str, Any] = {
        "base_channels": 4,
        "neck_channels": 16,
        "tower_convs": 3,
        "levels": 4,
        "depth": 34,
        "depth_factor": 1.0,
        "backbone": "swin",
        "anchor_scale": 2.0,
        "head_units": 32,
        "queries": 10,
        "layers": 3,
        "encoder_layers": 2,
        "masks": True,
        "deformable": True,
    }
    for argument in inspect.signature(ZOO[name]).parameters:
        others = {"depth": 50} if argument == "deformable" else {}
        base = detector_config(f"ikd::{name}", arguments=others, classes=CLASSES)
        changed = {**others, argument: changes[argument]}
        assert detector_config(f"ikd::{name}", arguments=changed, classes=CLASSES) != base, argument


def test_what_several_take_is_the_same_in_all_of_them() -> None:
    declared = {field.name: field.default for field in dataclasses.fields(SmallDetector)}
    own = {"anchor_scale", "depth_factor", "encoder_layers", "layers", "queries"}
    taken = {name: inspect.signature(function).parameters.values() for name, function in ZOO.items()}
    assert {argument.name for arguments in taken.values() for argument in arguments} == {*declared, *own}
    alike = [argument for name, arguments in taken.items() for argument in arguments if name not in CSP]
    assert all(argument.default == declared[argument.name] for argument in alike if argument.name not in own)


MADE_OF: list[dict[str, Any]] = [{}, {"backbone": "swin"}, {"backbone": "resnext", "depth": 50}]
SMALL = [
    *((name, more) for name in sorted(ZOO) for more in (MADE_OF if name not in CSP else [{}, {"depth_factor": 1.0}])),
    ("cascade_rcnn_r18", {"masks": True}),
    ("cascade_rcnn_r18", {"masks": True, "deformable": True, "depth": 50}),
    ("reppoints_r18", {"deformable": True, "backbone": "resnext", "depth": 50}),
]


@pytest.mark.parametrize(("name", "arguments"), SMALL)
def test_small_detectors_learn_every_weight_and_predict(name: str, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    arguments = {"base_channels": 4, "neck_channels": 16, **arguments}
    detector: Any = build_detector(detector_config(f"ikd::{name}", arguments=arguments, classes=CLASSES))
    assert all(weight.requires_grad for weight in detector.parameters())
    detector.train()
    assert all(module.training for module in detector.modules())
    images, samples = batch(96)
    if name == "rtmdet":  # mmdet's assigner takes masks of boxes for tensors; its loader gives it none
        for sample in samples:
            del sample.gt_instances.masks
    total(detector.loss(images, samples)).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in detector.parameters())
    detector.eval()
    with torch.no_grad(), quiet():
        found = detector.predict(images[:1], samples[:1])[0].pred_instances
    assert len(found) <= 100
    assert ("masks" in found) == (detector.data_preprocessor.pad_mask or False)


@pytest.mark.parametrize(
    ("name", "arguments"), [("mask_rcnn_r18", {}), ("cascade_rcnn_r18", {"masks": True}), ("retinanet_r18", {})]
)
def test_boxes_only_leaves_the_masks_out_and_nothing_else(name: str, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    arguments = {"base_channels": 4, "neck_channels": 16, **arguments}
    detector: Any = build_detector(detector_config(f"ikd::{name}", arguments=arguments, classes=CLASSES)).eval()
    weights = weights_sha256(detector)
    images, samples = batch(96)
    with torch.no_grad(), quiet():
        whole = detector.predict(images, [sample.clone() for sample in samples])
        with boxes_only(detector):
            boxes = detector.predict(images, [sample.clone() for sample in samples])
    for one, other in zip(whole, boxes, strict=True):
        assert "masks" not in other.pred_instances
        assert all(torch.equal(one.pred_instances[key], other.pred_instances[key]) for key in ("bboxes", "scores"))
    assert ("masks" in whole[0].pred_instances) == (name != "retinanet_r18")
    assert weights_sha256(detector) == weights


def test_backbones_are_those_of_the_papers_made_small() -> None:
    def backbone(**arguments: Any) -> Any:
        made: Any = build_detector(detector_config("ikd::retinanet_r18", arguments=arguments, classes=CLASSES))
        return made.backbone

    # X101-32x4d: groups, and bottlenecks twice as wide inside as their planes (128 of 64)
    block = backbone(base_channels=16, backbone="resnext", depth=50).layer1[0]
    assert (block.conv2.groups, block.conv2.out_channels, block.conv3.out_channels) == (4, 32, 64)
    # Swin-T: 96 channels, 3 heads of 32, 2-2-6-2 blocks
    swin = backbone(base_channels=96, backbone="swin", depth=34)
    assert [len(stage.blocks) for stage in swin.stages] == [2, 2, 6, 2]
    assert [stage.blocks[0].attn.w_msa.num_heads for stage in swin.stages] == [3, 6, 12, 24]
    deformable = detector_config("ikd::reppoints_r18", arguments={"deformable": True, "depth": 50}, classes=CLASSES)
    built: Any = build_detector(deformable)
    stages = [getattr(built.backbone, f"layer{stage}")[0].conv2 for stage in (1, 2, 3, 4)]
    assert [type(conv).__name__ for conv in stages] == ["Conv2d", *["DeformConv2dPack"] * 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnext"}, "backbone 'resnext' is made of bottlenecks and needs depth=50; got depth=18"),
        ({"deformable": True}, "needs backbone 'resnet' or 'resnext' with depth=50; got backbone 'resnet', depth=18"),
        ({"deformable": True, "backbone": "swin", "depth": 50}, "got backbone 'swin', depth=50"),
        ({"backbone": "vgg"}, "backbone='vgg': Input should be 'resnet', 'resnext' or 'swin'"),
    ],
)
def test_backbones_that_do_not_exist(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        detector_config("ikd::reppoints_r18", arguments=arguments, classes=CLASSES)
    assert message in str(error.value)


def test_fewer_levels() -> None:
    arguments = {"base_channels": 4, "neck_channels": 16, "levels": 3}
    assert tap_strides(build_detector(detector_config("ikd::gfl_r18", arguments=arguments, classes=CLASSES))) == [
        8,
        16,
        32,
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"base_chanels": 8},
            "unknown argument base_chanels=8; allowed arguments and their defaults: base_channels=16",
        ),
        ({"base_channels": "8"}, "base_channels='8': Input should be a valid integer"),
        ({"base_channels": 8.5}, "base_channels=8.5: Input should be a valid integer"),
        ({"depth": 19}, "depth=19: Input should be 18, 34 or 50"),
        ({"levels": 9}, "levels=9: Input should be less than or equal to 6"),
        ({"tower_convs": True}, "tower_convs=True: Input should be a valid integer"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        detector_config("ikd::retinanet_r18", arguments=arguments, classes=CLASSES)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("mmdet::retinanet/retinanet_r50_fpn_2x.py", "nearest: mmdet::retinanet/retinanet_r50_fpn_2x_coco.py"),
        ("mmdet::../../__init__.py", "ships no config"),
        ("ikd::retinanet_r81", "nearest: ikd::retinanet_r18"),
        ("no/such/file.py", "no detector config at 'no/such/file.py'"),
        ({"backbone": {}}, "must be a model with a type"),
        ({"type": "RetinaNet", "backbone": {"type": "ResNet"}}, "found no head with num_classes"),
    ],
)
def test_unknown_detectors(config: Any, message: str) -> None:
    with pytest.raises(BadInput) as error:
        detector_config(config, classes=CLASSES)
    assert message in str(error.value)


def test_arguments_are_for_our_own_detectors() -> None:
    with pytest.raises(BadInput, match="only ikd:: detectors take arguments"):
        detector_config(RETINANET, arguments={"depth": 18}, classes=CLASSES)


def test_zoo_name_file_and_dict_give_the_same(tmp_path: Path) -> None:
    by_name = detector_config(RETINANET, classes=CLASSES)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"model": by_name.to_dict()}))
    assert detector_config({"model": by_name.to_dict()}, classes=CLASSES) == by_name
    assert detector_config(by_name.to_dict(), classes=CLASSES) == by_name
    from_file = detector_config(str(path), classes=CLASSES)  # JSON turns tuples into lists
    assert json.dumps(from_file.to_dict()) == json.dumps(by_name.to_dict())
    assert by_name.test_cfg.nms.iou_threshold == 0.5  # attributes, also inside


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("model = dict(type=")
    with pytest.raises(BadInput, match=r"cannot read detector config '.*mine\.py'"):
        detector_config(str(path), classes=CLASSES)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (RETINANET, 1),
        ("mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py", 2),
        ("mmdet::dcn/cascade-mask-rcnn_x101-32x4d-dconv-c3-c5_fpn_1x_coco.py", 4),
        ("mmdet::solo/solo_r50_fpn_1x_coco.py", 1),
        ("mmdet::htc/htc_r50_fpn_1x_coco.py", 6),
    ],
)
def test_classes_reach_every_head(config: str, count: int) -> None:
    def found(node: Any, key: str = "") -> list[int]:
        if isinstance(node, dict):
            own = [node["num_classes"]] if "num_classes" in node and "semantic" not in key else []
            return own + [item for name, value in node.items() for item in found(value, name)]
        return [item for value in node for item in found(value, key)] if isinstance(node, list) else []

    assert found(detector_config(config, classes=CLASSES)) == [3] * count


def test_a_box_head_that_leaves_classes_out_gets_them() -> None:
    model = detector_config("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", classes=CLASSES).to_dict()
    del model["roi_head"]["bbox_head"]["num_classes"]
    again = detector_config(model, classes=CLASSES)
    assert again.roi_head.bbox_head.num_classes == 3
    assert "num_classes" not in again.rpn_head


def test_nothing_is_downloaded_unless_asked() -> None:
    plain = detector_config(RETINANET, classes=CLASSES)
    assert "init_cfg" not in plain.backbone
    assert (plain.backbone.frozen_stages, plain.backbone.norm_eval) == (-1, False)
    asked = detector_config(RETINANET, classes=CLASSES, pretrained_backbone=True)
    assert asked.backbone.init_cfg.checkpoint == "torchvision://resnet50"
    assert (asked.backbone.frozen_stages, asked.backbone.norm_eval) == (1, True)
    override = {"backbone.init_cfg": {"type": "Pretrained", "checkpoint": "open-mmlab://resnext101"}}
    with pytest.raises(BadInput, match="'open-mmlab://resnext101' needs a download; set pretrained_backbone: true"):
        detector_config(RETINANET, overrides=override, classes=CLASSES)


def test_caffe_norms_learn_without_their_weights() -> None:
    caffe = detector_config("mmdet::retinanet/retinanet_r50-caffe_fpn_1x_coco.py", classes=CLASSES)
    assert caffe.backbone.norm_cfg.requires_grad is True


def test_local_pretrained_weights_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "backbone.pth"
    override = {"backbone.init_cfg": {"type": "Pretrained", "checkpoint": str(path)}}
    with pytest.raises(BadInput, match=r"backbone\.pth', but there is no such file"):
        detector_config(RETINANET, overrides=override, classes=CLASSES)
    torch.save({}, path)
    kept = detector_config(RETINANET, overrides=override, classes=CLASSES)
    assert kept.backbone.init_cfg.checkpoint == str(path)


def test_pretrained_weights_of_which_nothing_fits_are_refused(tmp_path: Path) -> None:
    small = {"base_channels": 4, "neck_channels": 16}
    whole = build_detector(detector_config("ikd::retinanet_r18", arguments=small, classes=CLASSES))
    path = tmp_path / "whole.pth"
    torch.save(whole.state_dict(), path)

    def begun(**named: str) -> Any:
        override = {"backbone.init_cfg": {"type": "Pretrained", "checkpoint": str(path), **named}}
        return build_detector(
            detector_config("ikd::retinanet_r18", arguments=small, overrides=override, classes=("a",))
        )

    torch.testing.assert_close(
        begun(prefix="backbone.").backbone.conv1.weight, whole.get_parameter("backbone.conv1.weight")
    )
    with pytest.raises(
        BadInput, match=r"backbone\.init_cfg: must hold weights of this ResNet.*`prefix: backbone.` takes a part"
    ):
        begun()
    with pytest.raises(BadInput, match=r"backbone\.init_cfg: must hold weights of this ResNet"):
        begun(prefix="neck.")


def test_overrides_reach_dicts_and_lists() -> None:
    cascade = "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py"
    overrides = {
        "roi_head.bbox_head.1.fc_out_channels": 64,
        "backbone.with_cp": True,
        "neck": {"type": "FPN", "in_channels": [1], "out_channels": 8, "num_outs": 1},
        "backbone.frozen_stages": 2,
    }
    model = detector_config(cascade, overrides=overrides, classes=CLASSES)
    assert [head.fc_out_channels for head in model.roi_head.bbox_head] == [1024, 64, 1024]
    assert model.backbone.with_cp is True
    assert model.neck == {"type": "FPN", "in_channels": [1], "out_channels": 8, "num_outs": 1}
    assert model.backbone.frozen_stages == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"bbox_hed.loss_cls.gamma": 1}, "the model has no 'bbox_hed'; nearest: bbox_head"),
        ({"bbox_head.los_cls.gamma": 1}, "bbox_head has no 'los_cls'; nearest: loss_cls"),
        ({"bbox_head.type.name": 1}, "bbox_head.type is 'RetinaHead' and holds no 'name'"),
        ({"neck.in_channels.7": 1}, "neck.in_channels is a list; wanted an index 0..3, got '7'"),
        ({"bbox_head.num_classes": 80}, "the data set has 3 classes"),
    ],
)
def test_bad_overrides(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as error:
        detector_config(RETINANET, overrides=overrides, classes=CLASSES)
    assert message in str(error.value)


def test_what_mmdet_refuses_is_named() -> None:
    with pytest.raises(BadInput, match=r"mmdet cannot build RetinaNet: TypeError.*'nmu_outs'"):
        build_detector(detector_config("ikd::retinanet_r18", overrides={"neck.nmu_outs": 3}, classes=CLASSES))


def test_distillers_are_refused() -> None:
    with pytest.raises(BadInput, match="is itself a distiller"):
        detector_config("mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py", classes=CLASSES)


@pytest.mark.parametrize(
    ("name", "divisor"),
    [
        ("hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py", 128),
        ("hrnet/faster-rcnn_hrnetv2p-w18-1x_coco.py", 64),
        ("rtmdet/rtmdet_x_p6_4xb8-300e_coco.py", 64),
        ("rtmdet/rtmdet_l_swin_b_p6_4xb16-100e_coco.py", 64),
        ("rtmdet/rtmdet_l_8xb32-300e_coco.py", 32),
    ],
)
def test_images_are_padded_to_the_coarsest_map_that_a_neck_fuses(name: str, divisor: int) -> None:
    assert detector_config(f"mmdet::{name}", classes=["a"]).data_preprocessor.pad_size_divisor == divisor


def test_torchs_synchronised_norm_becomes_the_one_that_builds_in_a_single_process() -> None:
    name = "mmdet::simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-270k_coco.py"
    text = str(detector_config(name, classes=["a"]).to_dict())
    assert "MMSyncBN" not in text
    assert "'SyncBN'" in text
