"""Each dense head of mmdet, viewed: its boxes are those it predicts, and response terms act on it."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub

from ikd.detectors import build_detector, detector_config, freeze
from ikd.distill.response import ResponseTerms
from ikd.distill.views.heads import ROWS, locations
from ikd.errors import BadInput
from tests.unit.distill.heads import BOXES, FAMILIES, batch, tiny, two_stages

_RESNET = {
    "backbone": {"type": "ResNet", "depth": 18, "base_channels": 8, "norm_eval": False, "init_cfg": None},
    "neck.in_channels": [8, 16, 32, 64],
    "neck.out_channels": 32,
    "bbox_head.in_channels": 32,
    "bbox_head.feat_channels": 32,
}
_WIDE = {
    "backbone.widen_factor": 0.125,
    "neck.in_channels": [32, 64, 128],
    "neck.out_channels": 32,
    "bbox_head.in_channels": 32,
    "bbox_head.feat_channels": 32,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "DDODHead": ("ddod/ddod_r50_fpn_1x_coco.py", _RESNET),
    "PAAHead": ("paa/paa_r50_fpn_1x_coco.py", _RESNET),
    "TOODHead": ("tood/tood_r50_fpn_1x_coco.py", _RESNET),
    "VFNetHead": ("vfnet/vfnet_r50_fpn_1x_coco.py", _RESNET),
    "RTMDetSepBNHead": ("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", _WIDE | {"backbone.init_cfg": None}),
    "RTMDetHead": (
        "rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
        {key: value for key, value in _WIDE.items() if not key.startswith("bbox_head")}
        | {
            "backbone.init_cfg": None,
            "bbox_head": {
                "type": "RTMDetHead",
                "in_channels": 32,
                "feat_channels": 32,
                "stacked_convs": 1,
                "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
                "bbox_coder": {"type": "DistancePointBBoxCoder"},
                "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
                "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
                "num_classes": 3,
                "with_objectness": False,
            },
        },
    ),
    "YOLOXHead": ("yolox/yolox_tiny_8xb8-300e_coco.py", _WIDE),
}
pytestmark = pytest.mark.filterwarnings("ignore:DeprecationWarning. pos_bboxes")  # DDOD asks its sampler so
HEADS = (*FAMILIES, *CONFIGS)


@functools.cache
def _built(head: str, seed: int) -> Any:
    if head in FAMILIES:
        return tiny(head, seed)
    config, overrides = CONFIGS[head]
    torch.manual_seed(seed)
    detector: Any = build_detector(detector_config(f"mmdet::{config}", overrides=overrides, classes=["0", "1", "2"]))
    for parameter in detector.bbox_head.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return detector


@pytest.fixture(autouse=True)
def _late() -> None:
    """Be past the first epochs, in which TOOD assigns as ATSS."""
    MessageHub.get_current_instance().update_info("epoch", 100)


def detector_of(head: str, seed: int = 1) -> Any:
    return copy.deepcopy(_built(head, seed))


def losses(student: Any, teacher: Any, *names: str, **hyperparameters: Any) -> dict[str, torch.Tensor]:
    images, samples = batch(BOXES)
    terms = ResponseTerms(student, teacher, {name: hyperparameters for name in names})
    with terms.capture() as seen:
        student.loss(images, samples)
    with torch.no_grad():
        features = teacher.extract_feat(images)
    return terms.losses(seen, features, [sample.gt_instances.bboxes for sample in samples])


def test_every_row_is_tried() -> None:
    assert {*HEADS, "LDHead"} == set(ROWS)


@pytest.mark.parametrize("head", HEADS)
def test_boxes_are_those_predicted(head: str) -> None:
    detector = detector_of(head).eval()
    detector.bbox_head.test_cfg.score_thr = 0.0
    detector.bbox_head.with_score_voting = False  # PAA's mean of boxes, after they are decoded
    images, samples = batch(BOXES)
    with torch.no_grad():
        predicted = detector.predict(images, samples, rescale=False)
        found = locations(detector.bbox_head, detector.bbox_head(detector.extract_feat(images)))
    for image, sample in enumerate(predicted):
        boxes = sample.pred_instances.bboxes
        assert len(boxes)
        ours = torch.cat([found.boxes[image], found.boxes[image].clamp(0, 96)])  # not all heads cut them off
        assert float(torch.cdist(boxes, ours, p=torch.inf).amin(dim=1).max()) < 1e-2


@pytest.mark.parametrize("head", HEADS)
def test_self_distillation_is_zero(head: str) -> None:
    student = detector_of(head).train()
    for module in student.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    teacher = freeze(copy.deepcopy(student))
    for name, value in losses(student, teacher, "bckd").items():
        if "quality" not in name:  # a cross-entropy, which is the teacher's entropy at equality
            assert float(value.detach()) == pytest.approx(0, abs=1e-3), name


@pytest.mark.parametrize("head", HEADS)
def test_a_step_moves_the_head_of_the_student_alone(head: str) -> None:
    student, teacher = detector_of(head).train(), freeze(detector_of(head, 2))
    total = torch.stack(list(losses(student, teacher, "bckd", "dense_teacher", "logits").values())).sum()
    torch.autograd.backward(total)
    assert torch.isfinite(total)
    grads = [one.grad for one in student.bbox_head.parameters() if one.grad is not None]
    assert all(torch.isfinite(one).all() for one in grads)
    assert sum(float(one.abs().sum()) for one in grads) > 0
    assert all(one.grad is None for one in teacher.parameters())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("FCOSHead", "RetinaHead"), ("RetinaHead", "GFLHead"), ("YOLOXHead", "RTMDetSepBNHead")],
)
def test_heads_of_other_classes_pair(ours: str, theirs: str) -> None:
    found = losses(detector_of(ours).train(), freeze(detector_of(theirs, 2)), "bckd")
    assert all(torch.isfinite(value) for value in found.values())
    assert set(found) == {"loss_bckd_cls", "loss_bckd_loc"}


def test_ld_reads_bins_of_one_number() -> None:
    found = losses(detector_of("GFLHead").train(), freeze(detector_of("GFLHead", 2)), "ld", w_kd=1.0)
    assert set(found) == {"loss_ld_main", "loss_ld_vlr", "loss_ld_kd"}
    assert all(float(value.detach()) > 0 for value in found.values())
    with pytest.raises(BadInput, match=r"distill\.response\.ld: .*equal bins"):
        ResponseTerms(detector_of("GFLHead"), detector_of("ATSSHead"), {"ld": {}})


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(BadInput, match=r"distill\.response\.bckd: .*one-stage.*teacher.*FasterRCNN"):
        ResponseTerms(detector_of("GFLHead"), two_stages(), {"bckd": {}})
    with pytest.raises(BadInput, match="equal classes"):
        ResponseTerms(detector_of("GFLHead"), tiny("GFLHead", num_classes=2), {"bckd": {}})
    with pytest.raises(BadInput, match="response term bckd: has no hyperparameter 'w'"):
        ResponseTerms(detector_of("GFLHead"), detector_of("GFLHead"), {"bckd": {"w": 1}})
