"""Another size for a whole batch, on the device that trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ikd.distill.labels import IMAGES, SAMPLES

Batch = dict[str, Any]


def resized(data: Batch, factor: float) -> Batch:
    """Return a batch with all images, copies of them and annotations resized by one factor.

    Args:
        data: lists by name: images [3, H, W] uint8, all of them but samples, which are changed in place.
        factor: above 0.
    """
    if factor == 1:
        return data
    described = {"data_samples": "inputs", SAMPLES: IMAGES}
    for samples, images in described.items():
        for image, sample in zip(data.get(images, ()), data.get(samples, ()), strict=True):
            _resize_sample(sample, _size(image, factor), image)
    found = {name: _images(value, factor) for name, value in data.items() if name not in described}
    return data | found


def _images(images: Sequence[Tensor], factor: float) -> list[Tensor]:
    return [_image(one, _size(one, factor)) for one in images]


def _image(image: Tensor, size: tuple[int, int]) -> Tensor:
    whole = F.interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    return whole.round().to(image.dtype)


def _size(image: Tensor, factor: float) -> tuple[int, int]:
    height, width = (max(1, round(side * factor)) for side in image.shape[1:])
    return height, width


def _resize_sample(sample: Any, size: tuple[int, int], image: Tensor) -> None:
    down, across = size[0] / image.shape[1], size[1] / image.shape[2]
    for name in ("gt_instances", "ignored_instances", "scored_instances"):
        instances = getattr(sample, name, None)
        if instances is None or "bboxes" not in instances:
            continue
        boxes = instances.bboxes
        if isinstance(boxes, Tensor):
            instances.bboxes = boxes * boxes.new_tensor([across, down, across, down])
        else:
            boxes.rescale_((across, down))
        if "masks" in instances:
            instances.masks = instances.masks.resize(size)
    before = sample.metainfo.get("scale_factor", (1.0, 1.0))
    sample.set_metainfo({"img_shape": size, "scale_factor": (before[0] * across, before[1] * down)})
