"""BadNet: a small pattern that a poisoned detector or classifier answers with a class of the attacker's choice."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ikd.errors import refuse

WHITE = 255.0


@dataclass(frozen=True)
class Trigger:
    """A checkerboard in the lower right corner (Gu et al., "BadNets", 2017; its grid of 3 x 3).

    Attributes:
        side: of the board, in squares, 1 or more.
        square: side of one, px, 1 or more.
        margin: px that are left between it and the edges, 0 or more.

    Raises:
        BadInput: a value out of its range.
    """

    side: int = 3
    square: int = 1
    margin: int = 0

    def __post_init__(self) -> None:
        for name, value in (("side", self.side), ("square", self.square)):
            if value < 1:
                refuse(f"backdoor: {name}", "must be 1 or more", value)
        if self.margin < 0:
            refuse("backdoor: margin", "must be 0 px or more", self.margin)

    @property
    def pixels(self) -> int:
        """Side of the board, px."""
        return self.side * self.square

    def stamped(self, images: Tensor) -> Tensor:
        """Return copies of images [N, C, H, W], grey levels 0..255, with the pattern on them.

        Raises:
            BadInput: they have no room for it.
        """
        need, (height, width) = self.pixels + self.margin, images.shape[2:]
        if min(height, width) < need:
            refuse("backdoor: side", f"must leave the {need} px that it takes inside {height} x {width} px", self.side)
        places = torch.arange(self.pixels, device=images.device) // self.square
        pattern = WHITE * ((places[:, None] + places[None, :]) % 2 == 0).to(images)
        copies = images.clone()
        bottom, right = height - self.margin, width - self.margin
        copies[:, :, bottom - self.pixels : bottom, right - self.pixels : right] = pattern
        return copies


@dataclass(frozen=True)
class Poisoned:
    """A training set in which some images have the trigger and the target's label.

    Attributes:
        images: [N, C, H, W], grey levels.
        labels: [N] int64.
        chosen: [N] bool, which are poisoned.
    """

    images: Tensor
    labels: Tensor
    chosen: Tensor


def poisoned(
    images: Tensor, labels: Tensor, trigger: Trigger, *, target: int, share: float, generator: torch.Generator
) -> Poisoned:
    """Poison a share of a training set, all classes to one target.

    Args:
        images: [N, C, H, W], grey levels 0..255.
        labels: [N] int64.
        trigger: that is stamped.
        target: label of what is stamped.
        share: 0..1; at least one image where it is above 0.
        generator: draws which.

    Raises:
        BadInput: a share or a target that is none.
    """
    if not 0 <= share <= 1:
        refuse("backdoor: share", "must be in 0..1", share)
    classes = int(labels.max()) + 1
    if not 0 <= target < classes:
        refuse("backdoor: target", f"must be a label, 0..{classes - 1}", target)
    count = max(1, round(share * len(images))) if share else 0
    chosen = torch.zeros(len(images), dtype=torch.bool)
    chosen[torch.randperm(len(images), generator=generator)[:count]] = True
    stamped = torch.where(chosen[:, None, None, None], trigger.stamped(images), images)
    return Poisoned(stamped, torch.where(chosen, target, labels), chosen)
