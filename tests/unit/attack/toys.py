"""Detectors whose attack can be computed by hand, and samples for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ikd.detectors import build_detector, detector_config, freeze

MEAN, STD = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]


class QuadraticTeacher(nn.Module):
    """Its classification loss is sum a (z - t)^2 / 2 over the normalised input z; no boxes are looked at."""

    def __init__(self, curvature: Tensor, target: Tensor, *, bgr_to_rgb: bool = True) -> None:
        super().__init__()
        build_detector(detector_config("ikd::retinanet_r18", arguments={"base_channels": 4}, classes=["a"]))
        from mmdet.models import DetDataPreprocessor

        self.data_preprocessor = DetDataPreprocessor(mean=MEAN, std=STD, bgr_to_rgb=bgr_to_rgb, pad_size_divisor=1)
        self.anchor = nn.Parameter(torch.zeros(1))
        self.curvature, self.target = curvature, target
        self.requires_grad_(False)

    def loss(self, inputs: Tensor, samples: list[Any]) -> dict[str, Any]:
        return {"loss_cls": [(self.curvature * (inputs - self.target) ** 2).sum() / 2], "acc": inputs.sum() * 100}


def sample(
    size: tuple[int, int],
    image_id: int = 1,
    boxes: Sequence[Sequence[float]] = ((8.0, 8.0, 40.0, 40.0),),
    label: int = 0,
) -> Any:
    """A mmdet data sample of an image of (height, width)."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    made = DetDataSample(
        metainfo={"img_shape": size, "ori_shape": size, "img_id": image_id, "scale_factor": (1.0, 1.0)}
    )
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    made.gt_instances = InstanceData(bboxes=tensor, labels=torch.full((len(tensor),), label))
    made.ignored_instances = InstanceData(bboxes=tensor[:0], labels=torch.zeros(0, dtype=torch.long))
    return made


def tiny(name: str, seed: int = 0, **arguments: Any) -> Any:
    """A small frozen detector of three classes with random weights."""
    torch.manual_seed(seed)
    arguments = {"base_channels": 4, "neck_channels": 16, **arguments}
    return freeze(build_detector(detector_config(f"ikd::{name}", arguments=arguments, classes=["a", "b", "c"])))


def noise_images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Whole grey levels [N, 3, H, W]."""
    return torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(seed)).float()
