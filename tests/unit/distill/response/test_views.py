"""Each dense head of mmdet, viewed: its boxes are those it predicts, and response terms act on it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub

from ikd.detectors import freeze
from ikd.distill.response import ResponseTerms
from ikd.distill.views.heads import ROWS, locations
from ikd.errors import BadInput
from tests.unit.distill.dense import HEADS, detector_of
from tests.unit.distill.heads import BOXES, batch, tiny, two_stages

pytestmark = pytest.mark.filterwarnings("ignore:DeprecationWarning. pos_bboxes")  # DDOD asks its sampler so


@pytest.fixture(autouse=True)
def _late() -> None:
    """Be past the first epochs, in which TOOD assigns as ATSS."""
    MessageHub.get_current_instance().update_info("epoch", 100)


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
