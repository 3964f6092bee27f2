"""Robust distillation (RDM) of Global Knowledge: what prototypes say of instances, in both spaces.

Tang et al., ECCV 2022, arXiv 2210.09022, Eq. 4 to 8, in the form of the authors' code: cosines stand for the
coefficients of Eq. 6, with which the published weights have no force ((1 + 2 lambda)^2 = 441 times less).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.distill.functional import Targets
from ikd.distill.prototypes.selection import unit

Coefficients = Literal["cosine", "ridge"]


@dataclass(frozen=True)
class Prototypes:
    """The prototypes of all classes on one level.

    Attributes:
        teacher: features as they were pooled, [P, d].
        student: of the same instances, [P, e].
        labels: class of each, [P] (long).
    """

    teacher: Tensor
    student: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Relations:
    """How instances stand to prototypes.

    Attributes:
        teacher: coefficient of each instance on each prototype in the teacher's space, [n, P].
        student: the same in the student's, [n, P]; has the student's gradient.
        reliability: omega of each instance, in 0..1, [n]; without gradient. 1 where its class has no prototype.
    """

    teacher: Tensor
    student: Tensor
    reliability: Tensor


def relations(
    teacher: Tensor,
    student: Tensor,
    labels: Tensor,
    prototypes: Prototypes,
    *,
    coefficients: Coefficients,
    strength: float,
) -> Relations:
    """Compare instances with prototypes.

    Reliability is 1 - |max_j cos(s_i, s_j) - max_j cos(t_i, t_j)| over the prototypes of the instance's class, below 0
    taken as 0.

    Args:
        teacher: features of instances, [n, d].
        student: of the same instances, [n, e].
        labels: their classes, [n].
        prototypes: of one level.
        coefficients: `cosine`, or `ridge`: u and v of Eq. 2 for one prototype at a time, between unit lengths.
        strength: lambda, for `ridge`.
    """
    t, s = unit(teacher) @ unit(prototypes.teacher).T, unit(student) @ unit(prototypes.student).T
    own = labels[:, None] == prototypes.labels
    reliability = t.new_ones(len(t))
    if own.shape[1]:
        nearest = [side.detach().masked_fill(~own, -torch.inf).amax(dim=1) for side in (s, t)]
        gap = torch.where(own.any(dim=1), nearest[0] - nearest[1], 0.0)  # infinite less infinite is no number
        reliability = (1 - gap.abs()).clamp(0, 1)
    if coefficients == "ridge":
        whole = 1 + 2 * strength
        t, s = ((1 + strength) * t + strength * s) / whole, ((1 + strength) * s + strength * t) / whole
    return Relations(t.detach() if coefficients == "cosine" else t, s, reliability)


def global_loss(found: Relations) -> Tensor:
    """Return L_glob: the mean over instances and all prototypes of smooth L1 (beta 1) between reliable coefficients."""
    weight = found.reliability[:, None]
    if found.student.numel() == 0:
        return found.student.sum()  # 0, with a gradient of 0
    return F.smooth_l1_loss(weight * found.student, weight * found.teacher)


def painted(reliability: Tensor, targets: Targets, size: tuple[int, int]) -> Tensor:
    """Return Omega, [N, H, W]: in each cell the largest reliability of the boxes over it, 0 where there is none.

    A box covers the cells floor(x1 W / W_in) .. floor(x2 W / W_in), both included and on the map.

    Args:
        reliability: of the boxes of the batch, image by image, [n].
        targets: boxes in input pixels.
        size: (H, W) of the map.
    """
    omega = reliability.new_zeros(len(targets.boxes), *size)
    first = 0
    for image, boxes in enumerate(targets.boxes):
        rows, columns = _covered(boxes, targets.input_size, size)
        if len(boxes):
            values = reliability[first : first + len(boxes), None, None] * rows[:, :, None] * columns[:, None, :]
            omega[image] = values.amax(dim=0)
        first += len(boxes)
    return omega


def feature_loss(student: Tensor, teacher: Tensor, omega: Tensor, *, background: float) -> Tensor:
    """Return L_feat of one level: squared differences in boxes by their reliability, and outside of them.

    sum(Omega d^2) / (2 sum Omega) + background sum_outside d^2 / (2 count), channels counted; a part without
    a cell is 0.

    Args:
        student: adapted map, [N, C, H, W].
        teacher: map, [N, C, H, W].
        omega: `painted`, [N, H, W].
        background: c_bg; c_fg is 1.
    """
    squares = (student - teacher.detach()).square().sum(dim=1)
    outside = (omega == 0).to(squares.dtype)
    inside, beyond = (
        (mask * squares).sum() / (2 * student.shape[1] * mask.sum()).clamp(min=1e-12) for mask in (omega, outside)
    )
    return inside + background * beyond


def pooled(features: Tensor, targets: Targets) -> Tensor:
    """Return the mean of a map over each box, [n, C], box by box of image by image.

    A box covers the cells that `painted` paints. The sums are those of an integral image, in float64: one pass over
    the map, whatever the number of boxes.

    Args:
        features: [N, C, H, W].
        targets: boxes in input pixels.
    """
    size = (features.shape[2], features.shape[3])
    integral = F.pad(features.double().cumsum(dim=2).cumsum(dim=3), (1, 0, 1, 0))
    found = []
    for image, boxes in enumerate(targets.boxes):
        x1, y1, x2, y2 = _cells(boxes, targets.input_size, size)
        of = integral[image]
        sums = of[:, y2 + 1, x2 + 1] - of[:, y1, x2 + 1] - of[:, y2 + 1, x1] + of[:, y1, x1]  # [C, n]
        found.append((sums / ((x2 + 1 - x1) * (y2 + 1 - y1))).T.to(features.dtype))
    return torch.cat(found) if found else features.new_zeros(0, features.shape[1])


def _cells(boxes: Tensor, input_size: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return first and last column and row of each box, [n] each, on the map and in order."""
    height, width = size
    scale = boxes.new_tensor([width / input_size[1], height / input_size[0]] * 2)
    cells = (boxes.reshape(-1, 4) * scale).floor().long()
    x1, x2 = cells[:, 0].clamp(0, width - 1), cells[:, 2].clamp(0, width - 1)
    y1, y2 = cells[:, 1].clamp(0, height - 1), cells[:, 3].clamp(0, height - 1)
    return x1, y1, torch.maximum(x1, x2), torch.maximum(y1, y2)


def _covered(boxes: Tensor, input_size: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return which rows [n, H] and columns [n, W] of a map each box covers, 1 or 0."""
    x1, y1, x2, y2 = (one[:, None] for one in _cells(boxes, input_size, size))
    rows, columns = (torch.arange(side, device=boxes.device) for side in size)
    return ((rows >= y1) & (rows <= y2)).to(boxes.dtype), ((columns >= x1) & (columns <= x2)).to(boxes.dtype)
