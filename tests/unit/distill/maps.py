"""Maps and boxes on which the authors' code was run, and modules made the identity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ikd.distill import Targets


def maps() -> tuple[Tensor, Tensor]:
    """Return student and teacher: N=2, C=4, H=6, W=8, stride 8."""
    n, c, h, w = torch.meshgrid(*(torch.arange(float(size)) for size in (2, 4, 6, 8)), indexing="ij")
    teacher = 2 * torch.sin(0.7 * n + 1.3 * c + 0.5 * h + 0.9 * w)
    student = 2 * torch.cos(0.4 * n + 0.6 * c + 1.1 * h + 0.2 * w)
    return student, teacher


Rows = list[list[float]]


def boxes(*per_image: Rows, enhanced: Tensor | None = None) -> Targets:
    tensors = [torch.tensor(rows, dtype=torch.float64).reshape(-1, 4) for rows in per_image]
    labels = [torch.zeros(len(rows), dtype=torch.long) for rows in tensors]
    return Targets(tensors, labels, (48, 64), enhanced)


ROWS: tuple[Rows, Rows] = ([[8.0, 8, 40, 32], [20, 10, 30, 20]], [[0.0, 0, 63, 47]])
TARGETS = boxes(*ROWS)
MANY = boxes(*ROWS[:1], [*ROWS[1], [30.0, 5, 60, 25]])
"""One object more."""
EMPTY = boxes([], [])


def make_identity(loss: nn.Module, shift: float = 0.0) -> None:
    """Make every layer of a loss that does not start at zero the identity.

    A generator, conv - ReLU - conv, is then relu(x); with a `shift` above all values it is x.
    """
    for layer in loss.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.any():
            (nn.init.dirac_ if isinstance(layer, nn.Conv2d) else nn.init.eye_)(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    generators: list[Any] = [module for module in loss.modules() if isinstance(module, nn.Sequential)]
    for generator in generators:
        nn.init.constant_(generator[0].bias, shift)
        nn.init.constant_(generator[2].bias, -shift)
