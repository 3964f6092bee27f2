from __future__ import annotations

from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from tests.marks import some

ZOO = Path(mmdet.__file__).parent / ".mim" / "configs"


def small(name: str) -> nn.Module:
    """A detector of the zoo with an eighth of the channels in its backbone and random weights."""
    model = Config.fromfile(ZOO / name).model
    model.backbone.update(base_channels=8, init_cfg=None)
    model.neck.in_channels = [32, 64, 128, 256]
    with DefaultScope.overwrite_default_scope("mmdet"):
        detector: nn.Module = MODELS.build(model)
    return detector


def batch(detector: nn.Module, count: int, *, training: bool) -> dict[str, object]:
    inputs = demo_mm_inputs(count, [[3, 64, 64], [3, 48, 64]][:count], with_mask=True, use_box_type=False)
    prepared: dict[str, object] = detector.data_preprocessor(inputs, training)  # type: ignore[operator]
    return prepared


@pytest.mark.parametrize(
    ("name", "offsets"),
    some(
        [
            ("reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py", "reppoints_pts_init_out"),
            ("dcn/mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py", "conv_offset"),
            ("dcnv2/mask-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py", "conv_offset"),
        ],
        1,
    ),
)
def test_deformable_detectors_train_and_predict(name: str, offsets: str) -> None:
    torch.manual_seed(0)
    detector = small(name)
    losses = detector(**batch(detector, 2, training=True), mode="loss")
    parts: list[Tensor] = [
        part for value in losses.values() for part in (value if isinstance(value, list) else [value])
    ]
    total = torch.stack([part.sum() for part in parts]).sum()
    assert torch.isfinite(total)
    moved = [
        p for key, p in detector.named_parameters() if offsets in key and key.endswith("weight") and p.requires_grad
    ]
    assert moved
    assert all(gradient.any() for gradient in torch.autograd.grad(total, moved))  # it came through the offsets
    detector.eval()
    with torch.no_grad():
        (found,) = detector(**batch(detector, 1, training=False), mode="predict")
    assert found.pred_instances.bboxes.shape[1:] == (4,)
