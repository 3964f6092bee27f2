"""The digits that scikit-learn brings along, and a network that reads them: nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 16
"""Height and width of an image, px; the originals of 8 x 8 are enlarged, so that a trigger covers no digit."""
CLASSES = 10
TESTED = 597
"""Images that nothing is trained on, of 1797."""
WIDTHS = (8, 16, 32)


@dataclass(frozen=True)
class Images:
    """Images [N, 1, H, W] of grey levels 0..255, and their labels [N] int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, which: Tensor) -> Images:
        """Return the images at some places, or where a mask is true."""
        return Images(self.images[which], self.labels[which])


@cache
def _all_digits() -> Images:
    from sklearn.datasets import load_digits

    found = load_digits()
    small = torch.tensor(found.images, dtype=torch.float32)[:, None] * (255 / 16)
    large = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return Images(large.round(), torch.tensor(found.target, dtype=torch.int64))


def digits(generator: torch.Generator) -> tuple[Images, Images]:
    """Return handwritten digits (Alpaydin and Kaynak, 1998) for training and for the test, parted at random."""
    every = _all_digits()
    order = torch.randperm(len(every), generator=generator)
    return every.part(order[TESTED:]), every.part(order[:TESTED])


class Reader(nn.Module):
    """A convolutional network of three stages, each of two convolutions; the last two halve the sides first."""

    def __init__(self) -> None:
        super().__init__()
        before = (1, *WIDTHS[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, width, 3, stride=1 if channels == 1 else 2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for channels, width in zip(before, WIDTHS, strict=True)
        )
        self.head = nn.Linear(WIDTHS[-1], CLASSES)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the output of each stage of images [N, 1, H, W], grey levels."""
        found, maps = images / 127.5 - 1, []
        for stage in self.stages:
            found = stage(found)
            maps.append(found)
        return maps

    def read(self, maps: list[Tensor]) -> Tensor:
        """Return the logits [N, classes] of what the last stage has found."""
        logits: Tensor = self.head(maps[-1].mean(dim=(2, 3)))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, classes] of images [N, 1, H, W], grey levels."""
        return self.read(self.maps(images))
