"""Detectors whose kernels are rare: a training step and a prediction, with ResNet-18 and random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ikd.detectors import build_detector, detector_config
from tests.unit.detectors.batches import batch, total

R18: dict[str, Any] = {"backbone.depth": 18, "backbone.base_channels": 16}
NECK: dict[str, Any] = {**R18, "neck.in_channels": [16, 32, 64, 128]}
DETR: dict[str, Any] = {**R18, "neck.in_channels": [32, 64, 128]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")  # mmdet 3.5 and mmcv 2.3, of their own calls
@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ("deformable_detr/deformable-detr_r50_16xb2-50e_coco", DETR | {"num_queries": 40, "test_cfg.max_per_img": 20}),
        ("dino/dino-4scale_r50_8xb2-12e_coco", DETR | {"num_queries": 20, "test_cfg.max_per_img": 20}),
        ("guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco", NECK),
        ("pisa/faster-rcnn_r50_fpn_pisa_1x_coco", NECK),
        ("carafe/faster-rcnn_r50_fpn-carafe_1x_coco", NECK),
        ("dcn/faster-rcnn_r50_fpn_dpool_1x_coco", NECK),
        ("dyhead/atss_r50_fpn_dyhead_1x_coco", R18 | {"neck.0.in_channels": [16, 32, 64, 128]}),
    ],
)
def test_it_trains_and_predicts(config: str, overrides: dict[str, Any]) -> None:
    torch.manual_seed(0)
    detector: Any = build_detector(detector_config(f"mmdet::{config}.py", overrides=overrides, classes=("a", "b", "c")))
    images, samples = batch(128)
    loss = total(detector.train().loss(images, samples))
    loss.backward()
    assert loss.isfinite()
    assert all(one.grad.isfinite().all() for one in detector.parameters() if one.grad is not None)
    with torch.no_grad():
        found = detector.eval().predict(images[:1], samples[:1])  # masked convolution takes one image
    assert all(one.pred_instances.bboxes.shape[1:] == (4,) for one in found)
