"""Config files that name classes by module or by class, as mmengine's newer kind does."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikd.detectors import build_detector, detector_config, unread_settings
from ikd.detectors.test_input import own_test_input
from ikd.errors import BadInput
from ikd.trust import VARIABLE

CLASSES = ("a", "b")
FIRST = """
from mmengine.config import read_base
from torch.nn import BatchNorm2d
from mmdet.models import FPN, ResNet, RetinaHead, RetinaNet
from mmdet.models.task_modules import MaxIoUAssigner
model = dict(
    type=RetinaNet,
    data_preprocessor=dict(type="DetDataPreprocessor", pad_size_divisor=32),
    backbone=dict(type=ResNet, depth=18, base_channels=4, norm_cfg=dict(type=BatchNorm2d)),
    neck=dict(type=FPN, in_channels=[4, 8, 16, 32], out_channels=16, num_outs=4),
    bbox_head=dict(type=RetinaHead, num_classes=80, in_channels=16, stacked_convs=1, feat_channels=16),
    train_cfg=dict(assigner=dict(type=MaxIoUAssigner, pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)),
)
test_dataloader = dict(dataset=dict(pipeline=[dict(type="Resize", scale=(320, 200), keep_ratio=True)]))
"""
SECOND = """
from mmengine.config import read_base
with read_base():
    from .first import *
model.update(dict(bbox_head=dict(stacked_convs=2)))
"""


@pytest.fixture
def second(tmp_path: Path) -> Path:
    (tmp_path / "first.py").write_text(FIRST)
    (tmp_path / "second.py").write_text(SECOND)
    return tmp_path / "second.py"


@pytest.mark.parametrize("name", ["first.py", "second.py"])
def test_files_that_import_their_classes_and_bases_are_read(
    second: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    file = str(second.with_name(name))
    model = detector_config(file, classes=CLASSES)
    assert (model.type, model.neck.type, model.train_cfg.assigner.type) == ("RetinaNet", "FPN", "MaxIoUAssigner")
    assert (model.bbox_head.num_classes, model.bbox_head.stacked_convs) == (2, 1 + (name == "second.py"))
    assert own_test_input(file) == ((320, 200), True)
    assert type(build_detector(model).get_submodule("backbone.bn1")).__name__ == "BatchNorm2d"


def test_they_are_programs(second: Path) -> None:
    with pytest.raises(BadInput, match=r"would run code \(import in line 2\)"):
        detector_config(str(second), classes=CLASSES)


def test_a_class_by_its_package_is_the_same_as_by_its_name() -> None:
    short, long = ("SwinTransformer", "mmdet.SwinTransformer")
    models = [
        detector_config(
            "mmdet::rtmdet/rtmdet_l_swin_b_p6_4xb16-100e_coco.py", overrides={"backbone.type": name}, classes=CLASSES
        )
        for name in (short, long)
    ]
    inline = [detector_config({**model, "type": f"mmdet.{model.type}"}, classes=CLASSES) for model in models]
    assert inline[0] == inline[1] == models[0]
    assert models[0].data_preprocessor.pad_size_divisor == 64


def test_settings_beside_the_model_that_a_recipe_says_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'\n"
        "load_from = 'weights.pth'\ncustom_hooks = [dict(type='EMAHook'), dict(type='NumClassCheckHook')]\n"
    )
    assert unread_settings(str(file)) == {"student.checkpoint": "load_from", "schedule.ema": "EMAHook"}
    assert unread_settings("mmdet::yolox/yolox_s_8xb8-300e_coco.py") == {
        "input.batch_scale": "BatchSyncRandomResize",
        "schedule.ema": "EMAHook",
    }
    assert unread_settings("ikd::rtmdet") == unread_settings({"type": "RetinaNet"}) == {}
