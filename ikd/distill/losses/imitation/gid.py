"""General Instance Distillation (Dai et al., CVPR 2021): the losses between maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.imitation.masked import make_adapter
from ikd.distill.losses.imitation.rkd import LEAST, distance_loss
from ikd.distill.losses.weights import Reduction

POOLED = 10
"""Cells across and down that an instance is pooled to, as a port has it."""
SAMPLES = 2
"""Points across and down within each of these."""
STRIDE_OF = 224.0, 16.0
"""A box with sides of so many pixels is pooled from the level of this stride; one of twice the sides from the next."""


class GID(nn.Module):
    r"""GID for a whole pyramid. RECONSTRUCTION: no code was published; never report it as the authors' own.

    .. math:: L = \frac{\lambda_1}{K} \sum_i \| t_i - A(s_i) \|_2 + \lambda_2 \, \mathrm{mean}_{ij} \, h\big(
        \tfrac{|A(s_i) - A(s_j)|}{\mu_S}, \tfrac{|t_i - t_j|}{\mu_T}\big)

    s and t are the features of instance i, pooled from the level that fits its size (RoIAlign, 10x10 cells), A a 3x3
    convolution that all levels share, h the smooth L1 distance and :math:`\mu` the mean of the distances that are not
    0. K counts the instances of the batch, so that its loss is not the mean of those of its images; below three
    instances there are no relations, and without any the loss is 0. Training takes the instances from
    `InstanceHeads`, which adds the loss of the predictions; where no heads choose any, the boxes stand in.

    Known from the paper: instances by the difference of scores, and the three terms. Inferred by us: the adapter's
    form, what size goes to which level, the pooled size, relations between the instances of all images and behind the
    adapter, and all weights, which were not confirmed by any source.

    Args:
        channels: C of all maps.
        w_feature: lambda1.
        w_relation: lambda2.
        reduction: `published` norm of a difference, or `mean`: its root mean square.

    References:
        Dai et al., General Instance Distillation for Object Detection, CVPR 2021, Eqs. 1-7.
    """

    of_pyramid = True

    def __init__(
        self, channels: int, *, w_feature: float, w_relation: float, reduction: Reduction = "published"
    ) -> None:
        super().__init__()
        self.w_feature, self.w_relation, self.mean = w_feature, w_relation, reduction == "mean"
        self.imitator = make_adapter(channels)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets) -> Tensor:
        """Return the weighted loss of all levels; maps [N, C, H, W] of equal shape a level."""
        pooled = [instance_features(side, targets) for side in (student, teacher)]
        if not len(pooled[0]):
            return torch.stack([level.sum() for level in student]).sum() * 0
        ours, theirs = self.imitator(pooled[0]).flatten(1), pooled[1].flatten(1)
        distances = torch.linalg.vector_norm(theirs - ours, dim=1)
        if self.mean:
            distances = distances / math.sqrt(ours.shape[1])
        loss = self.w_feature * distances.mean()
        return loss if len(ours) < LEAST else loss + self.w_relation * distance_loss(ours, theirs)


def instance_features(levels: Sequence[Tensor], targets: Targets) -> Tensor:
    """Return the features of each box, pooled from the level that fits it: [n, C, POOLED, POOLED], image by image.

    Args:
        levels: maps [N, C, H, W], finest first.
        targets: boxes in input pixels.
    """
    boxes, shape = targets.padded_boxes.to(levels[0]), levels[0].shape
    strides = [targets.input_size[0] / level.shape[2] for level in levels]
    chosen = fitting_level(boxes, strides)
    pooled = levels[0].new_zeros(*boxes.shape[:2], POOLED, shape[1], POOLED)
    for place, level in enumerate(levels):
        spans = (boxes[..., axis::2] / targets.input_size[1 - axis] for axis in (1, 0))
        down, across = (_weights(span, size) for span, size in zip(spans, level.shape[2:], strict=True))
        here = (chosen == place)[..., None, None]
        pooled = pooled + torch.einsum("nbph,nchw,nbqw->nbpcq", down * here, level, across)
    return torch.cat([rows[: len(own)] for rows, own in zip(pooled.transpose(2, 3), targets.boxes, strict=True)])


def _weights(spans: Tensor, size: int) -> Tensor:
    """Return how much of each of a map's `size` rows each pooled cell has, [N, n, POOLED, size].

    RoIAlign along one axis: SAMPLES points a cell, each between two rows, and their mean.

    Args:
        spans: [N, n, 2], first and last point of each box as shares of the axis.
        size: rows of the map.
    """
    count = POOLED * SAMPLES
    steps = (torch.arange(count, device=spans.device, dtype=spans.dtype) + 0.5) / count
    points = (spans[..., :1] + (spans[..., 1:] - spans[..., :1]) * steps) * size - 0.5
    rows = torch.arange(size, device=spans.device, dtype=spans.dtype)
    near = (1 - (points.clamp(0, size - 1)[..., None] - rows).abs()).clamp(min=0)
    return near.reshape(*spans.shape[:2], POOLED, SAMPLES, size).mean(dim=3)


def fitting_level(boxes: Tensor, strides: Sequence[float]) -> Tensor:
    """Return the place among `strides`, rising, of the level that each box is pooled from: [..., 4] -> [...]."""
    side, stride = STRIDE_OF
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1).sqrt()
    wanted = math.log2(stride) + torch.floor(torch.log2(sides / side + 1e-6))
    there = boxes.new_tensor([math.log2(one) for one in strides])
    return (wanted[..., None] - there).abs().argmin(dim=-1)
