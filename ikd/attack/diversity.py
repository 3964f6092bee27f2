"""Input diversity: a random shrink and shift of the image, and of everything that is annotated on it.

Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019; for detectors the
boxes and masks have to move with the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Placement:
    """Where a shrunk image lies inside its own frame.

    Attributes:
        height: new height in pixels.
        width: new width in pixels.
        top: rows above it.
        left: columns left of it.
        frame: (height, width) of the image before, and of the frame around it now.
    """

    height: int
    width: int
    top: int
    left: int
    frame: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Factors along x and y: equal up to the rounding to whole pixels."""
        return self.width / self.frame[1], self.height / self.frame[0]


def draw_placement(
    size: tuple[int, int], generator: torch.Generator, *, probability: float, min_scale: float
) -> Placement | None:
    """Draw a placement, or None where the image stays; one factor r ~ U[min_scale, 1) keeps the aspect.

    Always takes four numbers from the generator, so that what one step draws never shifts the next.
    """
    coin, factor, down, right = torch.rand(4, generator=generator).tolist()
    if coin >= probability:
        return None
    ratio = min_scale + (1 - min_scale) * factor
    height, width = (max(1, round(side * ratio)) for side in size)
    top, left = int(down * (size[0] - height + 1)), int(right * (size[1] - width + 1))
    return Placement(height, width, top, left, size)


def place_images(inputs: Tensor, placements: Sequence[Placement | None], pad_value: float) -> Tensor:
    """Shrink and shift each normalised image of [N, 3, H, W]; what is uncovered gets the padding value."""
    if not any(placements):
        return inputs
    return torch.stack([_place(image, place, pad_value) for image, place in zip(inputs, placements, strict=True)])


def _place(image: Tensor, place: Placement | None, pad_value: float) -> Tensor:
    if place is None:
        return image
    height, width = place.frame
    small = F.interpolate(
        image[None, :, :height, :width], size=(place.height, place.width), mode="bilinear", align_corners=False
    )[0]
    below, right = image.shape[1] - place.top - place.height, image.shape[2] - place.left - place.width
    return F.pad(small, (place.left, right, place.top, below), value=pad_value)


def place_sample(sample: Any, place: Placement | None) -> Any:
    """Return a copy of a data sample whose boxes, ignored boxes and masks follow the image."""
    if place is None:
        return sample
    moved = sample.clone()
    for name in ("gt_instances", "ignored_instances"):
        instances = moved.get(name)
        if instances is None:
            continue
        instances = instances.clone()
        if "bboxes" in instances:
            instances.bboxes = _place_boxes(instances.bboxes, place)
        if "masks" in instances:
            instances.masks = _place_masks(instances.masks, place)
        setattr(moved, name, instances)
    return moved


def _place_boxes(boxes_xyxy: Tensor, place: Placement) -> Tensor:
    boxes = boxes_xyxy if isinstance(boxes_xyxy, Tensor) else boxes_xyxy.tensor  # [M, 4]
    scale = boxes.new_tensor([*place.scale, *place.scale])
    return boxes * scale + boxes.new_tensor([place.left, place.top, place.left, place.top])


def _place_masks(masks: Any, place: Placement) -> Any:
    """Move mmdet's bitmap or polygon masks; a bitmap keeps the size of its padded frame."""
    if isinstance(masks.masks, list):  # polygons, by instance and part
        scale, shift = np.array(place.scale), np.array([place.left, place.top])
        polygons = [
            [(part.reshape(-1, 2) * scale + shift).reshape(-1).astype(part.dtype) for part in parts]
            for parts in masks.masks
        ]
        return type(masks)(polygons, masks.height, masks.width)
    height, width = place.frame
    moved = np.zeros_like(masks.masks)
    if len(masks):
        small = type(masks)(masks.masks[:, :height, :width], height, width).resize((place.height, place.width))
        moved[:, place.top : place.top + place.height, place.left : place.left + place.width] = small.masks
    return type(masks)(moved, masks.height, masks.width)
