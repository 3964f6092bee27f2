"""The first input of the reference values, float64: two heads with bins on two levels, objects, queries and regions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ikd.distill.response import Assignment, Level, Locations

IMAGES, CLASSES, BINS = 2, 3, 8
LEVELS = (Level(8.0, 6, 8, 1), Level(16.0, 3, 4, 1))
OBJECTS = [
    torch.tensor([[8.2, 7.9, 40.4, 32.3], [20.1, 10.4, 30.2, 20.3]], dtype=torch.float64),
    torch.tensor([[2.3, 3.1, 61.2, 44.7]], dtype=torch.float64),
]


def grid(*counts: int) -> list[Tensor]:
    """Return the indices along each axis, as float64 that broadcast."""
    return list(torch.meshgrid(*[torch.arange(count, dtype=torch.float64) for count in counts], indexing="ij"))


def _level(index: int, side: str) -> dict[str, Tensor]:
    stride, height, width, _ = LEVELS[index]
    n, h, w, k = grid(IMAGES, height, width, CLASSES)
    student = side == "student"
    logits = (
        1.5 * (0.7 * n + 0.4 * index + 1.1 * k + 0.5 * h + 0.9 * w).sin() - 1
        if student
        else 1.5 * (0.3 * n + 0.6 * index + 0.8 * k + 0.4 * h + 0.7 * w).cos() - 1
    )
    n, h, w, s, b = grid(IMAGES, height, width, 4, BINS)
    bins = (
        2 * (0.5 * n + 0.3 * index + 0.9 * s + 0.6 * b + 0.4 * h + 0.2 * w).sin()
        if student
        else 2 * (0.2 * n + 0.5 * index + 0.7 * s + 0.8 * b + 0.3 * h + 0.5 * w).cos()
    )
    h, w = grid(height, width)
    centres = torch.stack([(w + 0.5) * stride, (h + 0.5) * stride], dim=-1).flatten(0, 1)
    bins = bins.flatten(1, 2)
    reach = (bins.softmax(dim=-1) * torch.arange(BINS)).sum(dim=-1) * stride
    boxes = torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], dim=-1)
    return {"logits": logits.flatten(1, 2), "boxes": boxes, "bins": bins, "centres": centres}


def head(side: str, *, quality: bool = False, levels: tuple[int, ...] = (0, 1)) -> Locations:
    """Return what the student or the teacher says."""
    parts = [_level(index, side) for index in levels]
    joined: dict[str, Any] = {
        name: torch.cat([part[name] for part in parts], dim=0 if name == "centres" else 1) for name in parts[0]
    }
    if quality:
        joined["quality"] = joined["bins"][:, :, 0, 0]
    return Locations(levels=[LEVELS[index] for index in levels], **joined)


def assigned(*, bare: tuple[int, ...] = (), levels: tuple[int, ...] = (0, 1), objects: bool = True) -> Assignment:
    """Return the student's assignment; levels in `bare` have no positives."""
    positives, weights = [], []
    for index in levels:
        n, h, w = (axis.long() for axis in grid(IMAGES, *LEVELS[index][1:3]))
        positive = (h + 2 * w + n + index) % 5 == 0
        weights.append((~(~positive & ((h + 3 * w + n) % 7 == 3))).double().flatten(1))
        positives.append((positive & (index not in bare)).flatten(1))
    positive = torch.cat(positives, dim=1)
    return Assignment(
        torch.cat(weights, dim=1), positive, positive.sum().double().clamp(min=1), OBJECTS if objects else None
    )


def queries(side: str) -> Locations:
    """Return three decoder layers of five queries, boxes in shares of the image."""
    d, n, q, k = grid(3, 2, 5, 4)
    student = side == "student"
    logits = (
        2 * (0.6 * d + 0.7 * n + 0.5 * q + 1.1 * k).sin() - 1
        if student
        else 2 * (0.4 * d + 0.3 * n + 0.9 * q + 0.8 * k).cos() - 1
    )
    angle = (0.3 * d + 0.5 * n + 0.7 * q + 1.3 * k).sin() if student else (0.2 * d + 0.6 * n + 0.4 * q + 1.1 * k).cos()
    coded = angle.sigmoid() * torch.tensor([1, 1, 0.5, 0.5], dtype=torch.float64)
    middle, half = coded[..., :2], coded[..., 2:] / 2
    return Locations(logits, torch.cat([middle - half, middle + half], dim=-1))


def regions(side: str) -> Locations:
    """Return six regions of three classes and background, with a coded box of each class."""
    r, k = grid(6, 4)
    logits = 2 * (0.8 * r + 1.1 * k).sin() if side == "student" else 2 * (0.5 * r + 0.9 * k).cos()
    r, j = grid(6, 12)
    deltas = 0.3 * (0.7 * r + 0.4 * j).sin() if side == "student" else 0.3 * (0.6 * r + 0.5 * j).cos()
    return Locations(logits[None], torch.zeros(1, 6, 4).double(), softmax=True, deltas=deltas.view(1, 6, 3, 4))


def detections() -> Locations:
    """Return the teacher's detections of both images."""
    boxes = [[[8, 8, 40, 32], [36, 20, 62, 46]], [[0, 0, 63, 47], [30, 5, 44, 15]]]
    logits = torch.full((2, 2, CLASSES), -50.0, dtype=torch.float64)
    for image, place, label, score in ((0, 0, 0, 0.9), (0, 1, 2, 0.55), (1, 0, 1, 0.75), (1, 1, 0, 0.2)):
        logits[image, place, label] = torch.tensor(score, dtype=torch.float64).logit()
    return Locations(logits, torch.tensor(boxes, dtype=torch.float64))
