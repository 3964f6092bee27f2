"""A decoder of the teacher's maps (Kang et al., NeurIPS 2021), trained beside the student and left behind with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.conditional.queries import SCALES, SINES, Queries, described, draw_queries, waves
from ikd.distill.functional import Attended, Targets, full_precision
from ikd.errors import refuse

LAYERS = 3
"""Of both perceptrons."""


class InstanceDecoder(nn.Module):
    r"""Looks for objects in the teacher's maps: one layer of attention between queries and all cells of all levels.

    A query says a class, a place within the object (its centre, moved by up to `jitter` of its sides) and the size of
    each side. The decoder learns whether the object is there, and how far its sides are from the place, as shares of
    the box:

    .. math:: L = \mathrm{mean}_{asked} \, \mathrm{BCE} + \mathrm{mean}_{real} \sum_{sides} \frac{|\hat d - d|}{side}

    Its gradients stay in it: the teacher is frozen, and what it tells `ICD` is constant. Deviating from the authors:
    places are shares of the padded batch, whose padding may be attended; made-up objects have classes, centres and
    sides of their own distributions on every data set, where the authors' know COCO's.

    Args:
        channels: of each level of the teacher's pyramid.
        classes: number of classes.
        dims: width of queries, keys and values.
        heads: of the attention; divides `dims`.
        fakes: made-up objects for each real one.
        most: queries of an image, where fewer objects are real.
        jitter: of the place, as a share of the box's sides.

    Raises:
        BadInput: the levels differ in channels.

    References:
        Kang et al., Instance-Conditional Knowledge Distillation for Object Detection, NeurIPS 2021, Eqs. 3-5 and 10;
        `megvii-research/ICD`.
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        dims: int,
        heads: int,
        fakes: float,
        most: int,
        jitter: float,
    ) -> None:
        super().__init__()
        if len(set(channels)) > 1:
            refuse("distill.host icd", "must have a teacher whose levels have equal channels", list(channels))
        self.classes, self.heads, self.fakes, self.most, self.jitter = classes, heads, fakes, most, jitter
        self.describe = _perceptron(classes + 2 * SINES + 2 * SCALES, dims, dims)
        self.query, self.key, self.value = (
            nn.Linear(dims, dims),
            nn.Linear(channels[0], dims),
            nn.Linear(channels[0], dims),
        )
        self.position, self.out = nn.Linear(dims, dims), nn.Linear(dims, dims)
        self.predict = _perceptron(dims, dims, 5)

    def forward(self, teacher: Sequence[Tensor], targets: Targets) -> tuple[dict[str, Tensor], list[Attended]]:
        """Return the decoder's losses, and what it tells of each level.

        Args:
            teacher: maps, [N, C, H, W] each.
            targets: boxes and classes.

        Returns:
            `icd_real` and `icd_box`, scalars; a level each, without gradient.
        """
        with torch.autocast(teacher[0].device.type, enabled=False):
            maps = [full_precision(level).detach() for level in teacher]
            queries = draw_queries(targets, self.classes, fakes=self.fakes, most=self.most, jitter=self.jitter)
            weights, values = self._attend(maps, described(queries, self.classes, targets.input_size).to(maps[0].dtype))
            read = (weights @ values).transpose(1, 2).flatten(2)  # [N, Q, D]
            losses = self._losses(self.predict(self.out(read)), queries)
        return losses, _told(weights.detach(), values.detach(), queries, maps)

    def _attend(self, maps: Sequence[Tensor], descriptions: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights [N, heads, Q, cells] that sum to 1 over the cells, and values [N, heads, cells, D / heads]."""
        cells = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        positions = torch.cat([self._positions(level) for level in maps])
        asked = self.query(self.describe(descriptions))
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (asked, self.key(cells) + self.position(positions), self.value(cells))
        )
        return (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(dim=3), value

    def _positions(self, level: Tensor) -> Tensor:
        """Return sines of the rows and columns of a map, [H W, D]."""
        height, width = level.shape[2:]
        half = self.position.in_features // 2
        rows, columns = (
            waves((torch.arange(side, device=level.device, dtype=level.dtype) + 1) / side, half)
            for side in (height, width)
        )
        return torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=2).flatten(
            0, 1
        )

    @staticmethod
    def _losses(predicted: Tensor, queries: Queries) -> dict[str, Tensor]:
        real, asked = (one.to(predicted.dtype) for one in (queries.real, queries.asked))
        entropy = F.binary_cross_entropy_with_logits(predicted[..., 0], real, reduction="none")
        before, after = queries.places - queries.corners[..., :2], queries.corners[..., 2:] - queries.places
        sides = (queries.corners[..., 2:] - queries.corners[..., :2]).clamp(min=1e-7)
        wanted = torch.cat([before, after], dim=2).to(predicted.dtype)
        off = ((predicted[..., 1:].sigmoid() - wanted).abs() / torch.cat([sides, sides], dim=2)).sum(dim=2)
        return {
            "icd_real": (entropy * asked).sum() / asked.sum().clamp(min=1),
            "icd_box": (off * real).sum() / real.sum().clamp(min=1),
        }


def _told(weights: Tensor, values: Tensor, queries: Queries, maps: Sequence[Tensor]) -> list[Attended]:
    real = queries.real.to(weights.dtype)
    count = real.sum(dim=1).clamp(min=1)[:, None, None]
    shares = torch.einsum("nq,nhqs->nhs", real, weights) / count
    flat = values.transpose(2, 3).flatten(1, 2)  # [N, D, cells]
    sizes = [level.shape[2:] for level in maps]
    cells = [size.numel() for size in sizes]
    parts = zip(*(torch.split(side, cells, dim=2) for side in (flat, shares)), sizes, strict=True)
    return [Attended(*(side.reshape(*side.shape[:2], *size) for side in both)) for *both, size in parts]


def _perceptron(first: int, hidden: int, last: int) -> nn.Sequential:
    widths = [first, *[hidden] * (LAYERS - 1), last]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
