"""What the decoder is asked: is there an object of this class, about here, of about this size?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ikd.distill.functional import Targets

FAKE_CENTRES, FAKE_SIDES = (0.03, 0.97), (2e-3, 0.7)
"""Within which parts of the image centres and sides of made-up objects lie."""
FAKE_SIDE = 0.2
"""Mean, and standard deviation, of their sides before these are cut."""
SINES = 128
"""Numbers that say one coordinate."""
SCALES = 5
"""Sizes of a side that are told apart: up to 64 px, and each twice that, in input pixels."""
TEMPERATURE = 10_000


@dataclass(frozen=True)
class Queries:
    """The queries of a batch, as many rows for each image; lengths are shares of the input's sides.

    Attributes:
        labels: [N, Q], classes.
        corners: [N, Q, 4], x1 y1 x2 y2.
        places: [N, Q, 2], x and y of what the decoder is told, off the centre.
        real: [N, Q] bool, those of objects of the image, which come first.
        asked: [N, Q] bool; the other rows stand for nothing.
    """

    labels: Tensor
    corners: Tensor
    places: Tensor
    real: Tensor
    asked: Tensor


def draw_queries(targets: Targets, classes: int, *, fakes: float, most: int, jitter: float) -> Queries:
    """Return a query for each object, and made-up ones.

    An image of n objects is asked for n (1 + fakes) in all, at least one, and no more than `most` or n. What is made up
    has a class, a centre and sides drawn apart; it may happen to be there.

    Args:
        targets: boxes in input pixels.
        classes: number of classes.
        fakes: made-up objects for each real one.
        most: queries of an image.
        jitter: how far a place is from the centre at most, as a share of the sides.
    """
    counts = [len(boxes) for boxes in targets.boxes]
    wanted = [min(max(1, int(count * (fakes + 1))), max(most, count)) for count in counts]
    like, rows = targets.padded_boxes, (len(counts), max(wanted))
    sides = (FAKE_SIDE + FAKE_SIDE * torch.randn((*rows, 2)).to(like)).clamp(*FAKE_SIDES)
    centres = torch.rand((*rows, 2)).to(like) * (FAKE_CENTRES[1] - FAKE_CENTRES[0]) + FAKE_CENTRES[0]
    corners = torch.cat([centres - sides / 2, centres + sides / 2], dim=2).clamp(0, 1)
    labels = torch.randint(classes, rows).to(like.device)
    place = torch.arange(rows[1], device=like.device)
    real, asked = (place < like.new_tensor(some)[:, None] for some in (counts, wanted))
    if any(counts):
        size = like.new_tensor([targets.input_size[1], targets.input_size[0]] * 2)
        known = pad_sequence([one.long() for one in targets.labels], batch_first=True)
        spare = rows[1] - known.shape[1]
        corners = torch.where(real[..., None], F.pad(like / size, (0, 0, 0, spare)), corners)
        labels = torch.where(real, F.pad(known, (0, spare)), labels)
    off = (2 * torch.rand((*rows, 2)).to(like) - 1) * jitter
    places = (corners[..., :2] + corners[..., 2:]) / 2 + off * (corners[..., 2:] - corners[..., :2])
    return Queries(labels, corners, places, real, asked)


def described(queries: Queries, classes: int, input_size: tuple[int, int]) -> Tensor:
    """Return what the decoder is told of each query, [N, Q, classes + 2 SINES + 2 SCALES]: class, place and size."""
    sides = (queries.corners[..., 2:] - queries.corners[..., :2]) * queries.corners.new_tensor(input_size[::-1])
    scale = (sides.clamp(min=1).log2() - SCALES).clamp(0, SCALES - 1).long()
    return torch.cat(
        [
            F.one_hot(queries.labels, classes).to(sides.dtype),
            waves(queries.places, SINES).flatten(2),
            F.one_hot(scale, SCALES).to(sides.dtype).flatten(2),
        ],
        dim=2,
    )


def waves(places: Tensor, count: int) -> Tensor:
    """Return sines and cosines of coordinates, shares of a whole, at falling frequencies: [...] -> [..., count]."""
    steps = torch.arange(0, count, 2, device=places.device, dtype=places.dtype)
    angles = 2 * math.pi * places[..., None] / TEMPERATURE ** (steps / count)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
