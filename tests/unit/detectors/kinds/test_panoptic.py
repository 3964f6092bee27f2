"""A PanopticFPN is the Mask R-CNN that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ikd.config import Detector
from ikd.detectors import Checkpoint, build_detector, detector_config, has_masks, left_out, load_weights, quiet
from ikd.detectors import read_checkpoint as read
from ikd.errors import BadInput, CheckpointError
from ikd.training.rehearsal.blame import refuse_step
from tests.unit.detectors.kinds.mmdets import MASKS, PANOPTIC, SMALL, sample, small

CLASSES = ("cat", "dog", "bird")
MASK_RCNN = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"


@pytest.fixture(scope="module")
def whole() -> Any:
    """mmdet's own, of three things and two kinds of stuff, which ikd leaves no config of."""
    detector_config(MASK_RCNN, classes=CLASSES)
    build_detector(small(PANOPTIC, CLASSES))  # mmdet's modules are there from here on
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    held = small(PANOPTIC, CLASSES)
    stuff = {"num_things_classes": 3, "num_stuff_classes": 2}
    branch = {"type": "PanopticFPNHead", **stuff, "in_channels": 16, "inner_channels": 8}
    held.update(
        type="PanopticFPN",
        semantic_head={**branch, "norm_cfg": {"type": "GN", "num_groups": 2}},
        panoptic_fusion_head={"type": "HeuristicFusionHead", **stuff},
    )
    held.test_cfg.panoptic = {"mask_overlap": 0.5, "stuff_area_limit": 64}
    held.test_cfg.rcnn.score_thr = 0.0
    torch.manual_seed(0)
    with quiet(), DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build(held).eval()


def saved(whole: Any, folder: Path, names: list[str]) -> Path:
    path = folder / "panoptic.pth"
    torch.save({"state_dict": whole.state_dict(), "meta": {"CLASSES": names}}, path)
    return path


def test_its_config_is_a_mask_rcnns_but_for_padding_of_maps() -> None:
    held, plain = detector_config(PANOPTIC, classes=CLASSES), detector_config(MASK_RCNN, classes=CLASSES)
    assert held.pop("data_preprocessor").items() >= plain.pop("data_preprocessor").items()
    assert held == plain
    assert has_masks(build_detector(small(PANOPTIC, CLASSES)))


def test_thresholds_of_boxes_are_those_of_a_mask_rcnn_unless_overrides_say_otherwise() -> None:
    found = small(PANOPTIC, CLASSES, **{"test_cfg.rcnn.score_thr": 0.3, "test_cfg.rcnn.nms.class_agnostic": True})
    assert found.test_cfg.rcnn.score_thr == 0.3
    assert found.test_cfg.rcnn.nms.class_agnostic
    own = detector_config(MASK_RCNN, classes=CLASSES) | {"type": "PanopticFPN"}
    own.test_cfg.rcnn.score_thr = 0.01
    assert detector_config(own, classes=CLASSES).test_cfg.rcnn.score_thr == 0.01, "a lower one stays"


def test_what_is_left_out_is_named() -> None:
    assert left_out(PANOPTIC) == ["semantic_head", "panoptic_fusion_head"]
    assert left_out(MASK_RCNN) == []
    with pytest.raises(BadInput, match=r"override 'semantic_head\.in_channels': the model has no 'semantic_head'"):
        small(PANOPTIC, CLASSES, **{"semantic_head.in_channels": 16})


@pytest.mark.parametrize("settings", ["none", {"rcnn": []}, {"rcnn": {"score_thr": "high", "nms": 3}}])
def test_settings_of_another_form_are_left_to_mmdet(settings: Any) -> None:
    given = {**detector_config(MASK_RCNN, classes=CLASSES), "type": "PanopticFPN", "test_cfg": settings}
    assert detector_config(given, classes=CLASSES).test_cfg == settings


def test_its_weights_give_the_boxes_and_masks_that_were_fused(whole: Any, tmp_path: Path) -> None:
    checkpoint = read(saved(whole, tmp_path, [*CLASSES, "sky", "grass"]))
    assert checkpoint.classes == CLASSES, "what is named after the things has no box"
    detector: Any = build_detector(small(PANOPTIC, CLASSES, **{"test_cfg.rcnn.score_thr": 0.0})).eval()
    load_weights(detector, checkpoint, classes=CLASSES)
    images, truth = torch.randn(1, 3, 128, 128), [sample([])]
    with torch.no_grad():
        maps = whole.extract_feat(images)
        (theirs,) = whole.roi_head.predict(maps, whole.rpn_head.predict(maps, truth), truth, rescale=True)
        ours = detector.predict(images, truth)[0].pred_instances
    assert len(ours) > 0
    assert torch.equal(ours.bboxes, theirs.bboxes)
    assert torch.equal(ours.masks, theirs.masks)


def test_only_the_branch_of_stuff_may_be_there_in_vain(whole: Any) -> None:
    weights = {**whole.state_dict(), "roi_head.another.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"0 keys missing, 1 unexpected\): unexpected roi_head\.another\.weight"):
        load_weights(build_detector(small(PANOPTIC, CLASSES)), Checkpoint(weights, None, "", "w.pth"), classes=None)


def test_classes_of_another_detector_stay_though_they_are_more_than_its_boxes_have(tmp_path: Path) -> None:
    plain = build_detector(detector_config(MASK_RCNN, overrides={**SMALL, **MASKS}, classes=CLASSES))
    assert read(saved(plain, tmp_path, [*CLASSES, "sky"])).classes == (*CLASSES, "sky")


def test_it_trains_on_boxes_and_masks() -> None:
    import numpy as np
    from mmdet.structures.mask import BitmapMasks

    truth = sample([[10, 10, 60, 60]])
    truth.gt_instances.masks = BitmapMasks(np.ones((1, 128, 128), np.uint8), 128, 128)
    detector: Any = build_detector(small(PANOPTIC, CLASSES))
    losses = detector.loss(torch.randn(1, 3, 128, 128), [truth])
    assert {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"} <= losses.keys()
    assert "loss_seg" not in losses


def test_a_panoptic_detector_of_another_kind_is_refused_as_student_with_a_way_out() -> None:
    error = AttributeError("'InstanceData' object has no attribute 'masks'")
    with pytest.raises(
        BadInput, match=r"student: mmdet::panoptic_fpn.* cannot predict: .* take a Mask R-CNN, or let it be a teacher"
    ):
        refuse_step("student", Detector(config=PANOPTIC), "predict", error, {})
