"""Semantic branches (HTC, SCNet) in data without maps of stuff."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from torch import nn

from ikd.detectors import build_detector, detector_config, quiet
from ikd.detectors.semantic import IGNORED, learn_without_maps


class Head(nn.Module):
    with_semantic = True

    def loss(self, x: Any, rpn_results_list: Any, batch_data_samples: list[Any]) -> Any:
        return [one.gt_sem_seg.sem_seg for one in batch_data_samples]


def detector(head: nn.Module) -> nn.Module:
    whole = nn.Module()
    whole.roi_head = head
    learn_without_maps(whole)
    return whole


def sample(**fields: Any) -> Any:
    from mmdet.structures import DetDataSample

    one = DetDataSample(metainfo={"batch_input_shape": (6, 8)})
    one.gt_instances = InstanceData(bboxes=torch.zeros(0, 4))
    for name, value in fields.items():
        setattr(one, name, value)
    return one


def test_every_pixel_of_an_image_without_a_map_is_ignored_and_the_sample_stays_as_it_was() -> None:
    own, bare = PixelData(sem_seg=torch.ones(1, 6, 8)), sample()
    head: Any = copy.deepcopy(detector(Head())).roi_head
    filled, kept = head.loss(None, None, [bare, sample(gt_sem_seg=own)])
    assert filled.shape == (1, 6, 8)
    assert (filled == IGNORED).all()
    assert (kept == 1).all()
    assert "gt_sem_seg" not in bare
    assert type(head).__name__ == "Head", "what is written of a detector is mmdet's name"


def test_heads_without_such_a_branch_are_left_alone() -> None:
    head = Head()
    head.with_semantic = False
    assert type(detector(head).roi_head) is Head


def test_the_loss_of_mmdets_branch_is_zero_where_every_pixel_is_ignored() -> None:
    from mmdet.registry import MODELS

    build_detector(detector_config("ikd::retinanet_r18", classes=["a"]))  # mmdet's modules are there from here on
    widths = {"num_ins": 2, "fusion_level": 1, "num_convs": 1, "in_channels": 4, "conv_out_channels": 4}
    with quiet():
        branch: Any = MODELS.build({"type": "FusedSemanticHead", "seg_scale_factor": 1 / 8, "num_classes": 3, **widths})
    scores, _ = branch([torch.randn(1, 4, 16, 16), torch.randn(1, 4, 8, 8)])
    loss = branch.loss(scores, torch.full((1, 1, 64, 64), IGNORED))
    assert loss.item() == 0
    loss.backward()
    assert all(not one.grad.any() for one in branch.parameters() if one.grad is not None)


@pytest.mark.parametrize(("name", "padded"), [("rtmdet-ins_tiny", True), ("rtmdet_tiny", None)])
def test_masks_of_rtmdet_ins_are_padded_with_their_images(name: str, padded: bool | None) -> None:
    config = detector_config(f"mmdet::rtmdet/{name}_8xb32-300e_coco.py", classes=["a"])
    assert config.data_preprocessor.get("pad_mask") is padded
