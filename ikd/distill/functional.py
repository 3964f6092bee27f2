"""Pure functions under the distillation losses: attention, box masks, distances.

Letters in shape comments: N images, C channels, H and W cells of one pyramid level, B boxes of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

__all__ = [
    "Attended",
    "Targets",
    "attention",
    "background_mask",
    "box_spans",
    "channel_attention",
    "foreground_mask",
    "full_precision",
    "kl_over_positions",
    "pearson_distance",
    "scaled_softmax",
    "spatial_attention",
    "standardise",
]

OVER_CHANNEL = (0, 2, 3)  # the axes that statistics of a channel run over
EPS = 1e-6  # added to the deviation of a channel before dividing by it


@dataclass(frozen=True)
class Attended:
    """Where a decoder of the teacher's maps looks, on one level.

    Attributes:
        values: [N, D, H, W], what it reads there, heads one after the other.
        shares: [N, heads, H, W], how much each cell counts; over all levels 1 for each head of an image, or 0.
    """

    values: Tensor
    shares: Tensor


@dataclass(frozen=True)
class Targets:
    """Ground truth of one batch, as the losses need it.

    Attributes:
        boxes: per image, [n_i, 4] corners x1 y1 x2 y2 in input pixels (after every augmentation).
        labels: per image, [n_i] class indices.
        input_size: (H_in, W_in) in pixels of the padded batch, which is what a feature map covers.
        enhanced: [N] bool, the images that masking enhancement has changed; None when it changed none.
        importance: [N, H, W] >= 0, how much each cell of the level at hand counts by what heads predict there; None
            where no head was asked.
        reliability: per image, [n_i] in 0..1, how much each box counts on the level at hand by what prototypes say;
            None where they do not act within the host.
        partners: features of the prototypes of the level at hand, the student's [P, Cs] and the teacher's [P, Ct];
            None likewise.
        attended: of the level at hand, where a decoder looks there; None where there is no decoder.
        confidence: [N] >= 0, how much each image counts on the level at hand; None where all count 1 (see
            `ikd.distill.confidence`).
    """

    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    input_size: tuple[int, int]
    enhanced: Tensor | None = None
    importance: Tensor | None = None
    reliability: Sequence[Tensor] | None = None
    partners: tuple[Tensor, Tensor] | None = None
    attended: Attended | None = None
    confidence: Tensor | None = None

    def of(self, image: int) -> Targets:
        """Return what is known of one image, as of a batch of it alone, its confidence left out."""
        only = slice(image, image + 1)
        enhanced, importance = (None if one is None else one[only] for one in (self.enhanced, self.importance))
        looked = self.attended and Attended(self.attended.values[only], self.attended.shares[only])
        return replace(
            self,
            boxes=self.boxes[only],
            labels=self.labels[only],
            enhanced=enhanced,
            importance=importance,
            reliability=None if self.reliability is None else self.reliability[only],
            attended=looked,
            confidence=None,
        )

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
    in_rows, in_columns, cells = box_spans(targets, size)
    return ((in_rows / cells)[..., :, None] * in_columns[..., None, :]).amax(dim=1)


def box_spans(targets: Targets, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return which rows and columns of a map each box covers, and how many cells that are before clipping to the map.

    A box covers the rows floor(y1 H / H_in) .. ceil(y2 H / H_in) and the like columns, all included.

    Args:
        targets: boxes in input pixels.
        size: (H, W) of the feature map.

    Returns:
        1 or 0 for rows [N, n, H] and columns [N, n, W] of `targets.padded_boxes`, and cells [N, n, 1]. A row that
        stands for no box covers nothing.
    """
    height, width = size
    boxes = targets.padded_boxes  # [N, n, 4]
    across, down = width / targets.input_size[1], height / targets.input_size[0]
    left, right = (boxes[..., :1] * across).floor(), (boxes[..., 2:3] * across).ceil()  # [N, n, 1]
    top, bottom = (boxes[..., 1:2] * down).floor(), (boxes[..., 3:] * down).ceil()
    return _within(top, bottom, height), _within(left, right, width), (right - left + 1) * (bottom - top + 1)


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
    centred = features - features.mean(dim=OVER_CHANNEL, keepdim=True)
    count = centred.numel() // centred.shape[1]
    norm = torch.linalg.vector_norm(centred, dim=OVER_CHANNEL, keepdim=True)  # its gradient at 0 is 0; faster than std
    return centred / (norm / math.sqrt(max(count - 1, 1)) + EPS)


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
    return PearsonDistance.apply(student, teacher)  # type: ignore[no-untyped-call]


class PearsonDistance(Function):
    """`pearson_distance` with its gradient in closed form: half the passes over the maps that autograd would make."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the distance; keep what both gradients need."""
        (ours, *spread), (theirs, *their_spread) = _centred(student), _centred(teacher)
        difference = ours.div_(spread[1] + EPS).sub_(theirs.div_(their_spread[1] + EPS))
        ctx.save_for_backward(difference, student, *spread, teacher, *their_spread)
        return difference.square().mean() / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        r"""Return the gradients of both sides.

        With c a centred channel, :math:`\sigma` its deviation and d the difference of the standardised maps the chain
        rule gives :math:`d / (\sigma + \epsilon) - c \, (d \cdot c) / ((n-1) \, \sigma \, (\sigma + \epsilon)^2)`,
        whose second part is 0 where a channel has no spread. The means of d are 0, so centring needs no term.
        """
        difference, *sides = ctx.saved_tensors
        share = grad / difference.numel()
        signs, wanted = (1, -1), ctx.needs_input_grad
        student, teacher = (
            _through_standardised(difference, side, sign * share) if needed else None
            for side, sign, needed in zip((sides[:3], sides[3:]), signs, wanted, strict=True)
        )
        return student, teacher


def _centred(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return features less their channel means, and these means and unbiased deviations, [1, C, 1, 1]."""
    mean = features.mean(dim=OVER_CHANNEL, keepdim=True)
    centred = features - mean
    freedom = max(centred.numel() // centred.shape[1] - 1, 1)
    return centred, mean, (centred.square().sum(dim=OVER_CHANNEL, keepdim=True) / freedom).sqrt()


def _through_standardised(upstream: Tensor, side: Sequence[Tensor], factor: Tensor) -> Tensor:
    """Return the gradient of features, [N, C, H, W], from `factor` times that of their standardised form."""
    features, mean, deviation = side
    freedom, scale = max(features.numel() // features.shape[1] - 1, 1), 1 / (deviation + EPS)
    centred = features - mean
    along = (centred * upstream).sum(dim=OVER_CHANNEL, keepdim=True)
    radial = torch.where(deviation > 0, along * scale**2 / (freedom * deviation), 0)
    return centred.mul_(-factor * radial).addcmul_(upstream, factor * scale)


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
