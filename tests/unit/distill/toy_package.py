"""A package that adds a loss `toy`, written into a folder as pip would install it."""

from __future__ import annotations

from pathlib import Path

SECTION = """
from pydantic import Field

from ikd.config import Positive, Term, Weight


class Toy(Term):
    "A toy."

    implementation = "toy_kd.loss:ToyLoss"

    weight: Weight = 2.0
    "Weight."
    power: Positive = 1.5
    "Exponent."
    cut: float = Field(default=0.25, le=0.5)
    "Share."
"""

LOSS = """
import torch
from torch import Tensor, nn

from ikd.distill import Targets


class ToyLoss(nn.Module):
    def __init__(self, channels: int, *, weight: float, power: float, cut: float) -> None:
        super().__init__()
        self.weight, self.power, self.cut = weight, power, cut
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        return self.weight * (student * self.gain - teacher).abs().pow(self.power).mean()
"""


def write_toy(
    folder: Path,
    section: str = SECTION,
    loss: str = LOSS,
    entry: str = "toy = toy_kd.section:Toy",
    name: str = "toy-kd",
) -> Path:
    """Write package and metadata into a folder, which then belongs on the path."""
    package, metadata = folder / "toy_kd", folder / f"{name.replace('-', '_')}-0.1.dist-info"
    for made in (package, metadata):
        made.mkdir(exist_ok=True, parents=True)
    (package / "__init__.py").write_text("")
    (package / "section.py").write_text(section)
    (package / "loss.py").write_text(loss)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[ikd.losses]\n{entry}\n")
    return folder
