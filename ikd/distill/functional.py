"""Pure functions under the distillation losses: attention, box masks, distances.

Letters in shape comments: N images, C channels, H and W cells of one pyramid level, B boxes of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

__all__ = [
    "Targets",
    "attention",
    "background_mask",
    "channel_attention",
    "foreground_mask",
    "full_precision",
    "kl_over_positions",
    "pearson_distance",
    "scaled_softmax",
    "spatial_attention",
    "standardise",
]


@dataclass(frozen=True)
class Targets:
    """Ground truth of one batch, as the losses need it.

    Attributes:
        boxes: per image, [n_i, 4] corners x1 y1 x2 y2 in input pixels (after every augmentation).
        labels: per image, [n_i] class indices.
        input_size: (H_in, W_in) in pixels of the padded batch, which is what a feature map covers.
        enhanced: [N] bool, the images that masking enhancement has changed; None when it changed none.
    """

    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    input_size: tuple[int, int]
    enhanced: Tensor | None = None

    @cached_property
    def padded_boxes(self) -> Tensor:
        """Boxes as one tensor [N, n, 4], n >= 1, once for all levels; rows without a box lie outside every map."""
        outside = -2.0 * max(self.input_size)
        like = self.boxes[0] if self.boxes else torch.empty(0)
        nothing = like.new_full((1, 4), outside)  # gives the longest list a row where no image has a box
        rows = [boxes.reshape(-1, 4) for boxes in self.boxes]
        return pad_sequence([*rows, nothing], batch_first=True, padding_value=outside)[:-1]


def attention(features: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    r"""Spatial and channel attention of FGD: softmax of mean absolute values, scaled to average 1.

    .. math::
        s = HW \, \mathrm{softmax}_{hw}(\tfrac1{C}\sum_c |X| / t), \quad
        a = C \, \mathrm{softmax}_{c}(\tfrac1{HW}\sum_{hw} |X| / t)

    Args:
        features: [N, C, H, W].
        temperature: t > 0; small values concentrate the attention.

    Returns:
        s [N, H, W] and a [N, C].

    References:
        Yang et al., Focal and Global Knowledge Distillation for Detectors, CVPR 2022, Eqs. 5-8.
    """
    magnitude = features.flatten(2).abs()
    spatial = scaled_softmax(magnitude.mean(dim=1), temperature)
    return spatial.view(len(features), *features.shape[2:]), scaled_softmax(magnitude.mean(dim=2), temperature)


def scaled_softmax(values: Tensor, temperature: float) -> Tensor:
    """Softmax of values / temperature over the last axis, [N, K], times K, so that a row averages 1."""
    return (values / temperature).softmax(dim=1) * values.shape[1]


def spatial_attention(features: Tensor, temperature: float) -> Tensor:
    """Return s of `attention`: [N, H, W], average 1 over the cells of an image."""
    return attention(features, temperature)[0]


def channel_attention(features: Tensor, temperature: float) -> Tensor:
    """Return a of `attention`: [N, C], average 1 over the channels of an image."""
    return attention(features, temperature)[1]


def foreground_mask(targets: Targets, size: tuple[int, int]) -> Tensor:
    """Scale mask F of FGD: in each cell the largest 1/area of the boxes over it, else 0 (the smallest box wins).

    A box covers the cells floor(x1 W / W_in) .. ceil(x2 W / W_in), both included; its area counts those cells before
    clipping to the map, as published.

    Args:
        targets: boxes in input pixels.
        size: (H, W) of the feature map.

    Returns:
        [N, H, W], on the device of the boxes.

    References:
        FGD, Eqs. 2-4.
    """
    height, width = size
    boxes = targets.padded_boxes  # [N, n, 4]
    across, down = width / targets.input_size[1], height / targets.input_size[0]
    left, right = (boxes[..., :1] * across).floor(), (boxes[..., 2:3] * across).ceil()  # [N, n, 1]
    top, bottom = (boxes[..., 1:2] * down).floor(), (boxes[..., 3:] * down).ceil()
    weight = 1 / ((right - left + 1) * (bottom - top + 1))
    in_columns = _within(left, right, width)  # [N, n, W]
    in_rows = _within(top, bottom, height) * weight  # [N, n, H]
    return (in_rows[..., :, None] * in_columns[..., None, :]).amax(dim=1)


def _within(first: Tensor, last: Tensor, count: int) -> Tensor:
    """Return 1 for the cells 0..count-1 that lie in first..last, [N, n, 1] each, else 0: [N, n, count]."""
    cells = torch.arange(count, device=first.device)
    return ((cells >= first) & (cells <= last)).to(first.dtype)


def background_mask(foreground: Tensor) -> Tensor:
    """Mask B of FGD: 1 / (number of empty cells of the image) in empty cells, else 0; all 0 when no cell is empty.

    Args:
        foreground: F of `foreground_mask`, [N, H, W].

    Returns:
        [N, H, W], summing to 1 per image that has an empty cell.
    """
    empty = (foreground == 0).to(foreground.dtype)
    return empty / empty.sum(dim=(1, 2), keepdim=True).clamp(min=1)


def full_precision(features: Tensor) -> Tensor:
    """Return half-precision values as float32, others as they are."""
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features


def standardise(features: Tensor) -> Tensor:
    """Zero mean and unit (unbiased) standard deviation per channel over (N, H, W); eps 1e-6 outside the root.

    Args:
        features: [N, C, H, W].

    Returns:
        [N, C, H, W].

    References:
        Cao et al., PKD, NeurIPS 2022, Eq. 4.
    """
    centred = features - features.mean(dim=(0, 2, 3), keepdim=True)
    count = centred.numel() // centred.shape[1]
    norm = torch.linalg.vector_norm(centred, dim=(0, 2, 3), keepdim=True)  # its gradient at 0 is 0; faster than std
    return centred / (norm / math.sqrt(max(count - 1, 1)) + 1e-6)


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the mean squared difference of standardised maps: the mean over channels of 1 - r, times (n-1)/n.

    Args:
        student: [N, C, H, W].
        teacher: [N, C, H, W].

    Returns:
        Scalar >= 0, zero under positive affine maps of each channel; n = N H W.

    References:
        PKD, Eqs. 4-6.
    """
    return F.mse_loss(standardise(student), standardise(teacher)) / 2


def kl_over_positions(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    r"""Mean over images and channels of :math:`\tau^2 KL(p_T \| p_S)`, p a softmax over positions of X / tau.

    Args:
        student: [N, C, H, W].
        teacher: [N, C, H, W].
        tau: temperature > 0.

    Returns:
        Scalar >= 0, zero at equality and under per-channel shifts.

    References:
        Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021, Eqs. 3-4.
    """
    log_student = (student.flatten(2) / tau).log_softmax(dim=2)
    log_teacher = (teacher.flatten(2) / tau).log_softmax(dim=2)
    total = F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
    return total * tau**2 / (student.shape[0] * student.shape[1])
