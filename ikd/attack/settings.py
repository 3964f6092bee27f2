"""The settings of an attack, and their rules."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from ikd.errors import BadInput

AttackLoss = Literal["cls", "cls+reg", "feature_distance"]
MAX_EPS = 127.0
"""A perturbation is stored in eight bits."""


@dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """How strong an attack is, and what it maximises.

    Attributes:
        eps: greatest change of a pixel, in grey levels of 0..255, at most 127.
        step: change in one step, in grey levels, at most `eps`.
        steps: number of steps, from 1.
        momentum: weight of the gradients before, from 0.
        diversity_probability: how often D acts, 0..1.
        diversity_min_scale: D shrinks by a factor drawn from [this, 1); above 0, at most 1.
        loss: what is maximised: `cls` every classification loss, `cls+reg` localisation too, `feature_distance` the
            relative squared distance of the neck's outputs from the clean ones (its gradient is zero at the clean
            image, so it starts from a random sign step).
        published: repeat the authors' code: strength scaled by the range of the normalised padded image, square
            diversity that leaves boxes where they were, no list-valued RPN loss in mask models, padding attacked, one
            image at a time.
        seed: of the diversity and the samplers, combined with each image's id.

    Raises:
        BadInput: a value outside its range, `step` above `eps`, or `published` with another loss than `cls`.
    """

    eps: float = 8.0
    step: float = 2.0
    steps: int = 5
    momentum: float = 1.0
    diversity_probability: float = 0.5
    diversity_min_scale: float = 0.9
    loss: AttackLoss = "cls"
    published: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        known, chance, shrink = get_args(AttackLoss), self.diversity_probability, self.diversity_min_scale
        rules = {
            f"eps must be in 0..{MAX_EPS:g} grey levels, got {self.eps=}": 0 <= self.eps <= MAX_EPS,
            f"step must be in 0..eps, got {self.step=} and {self.eps=}": 0 <= self.step <= self.eps,
            f"steps must be at least 1, got {self.steps=}": self.steps >= 1,
            f"momentum must be at least 0, got {self.momentum=}": 0 <= self.momentum < float("inf"),
            f"diversity_probability must be in 0..1, got {chance}": 0 <= chance <= 1,
            f"diversity_min_scale must be above 0, at most 1, got {shrink}": 0 < shrink <= 1,
            f"loss must be one of {', '.join(known)}, got {self.loss!r}": self.loss in known,
            f"published behaviour has loss='cls', got {self.loss!r}": not self.published or self.loss == "cls",
        }
        broken = [rule.replace("self.", "") for rule, holds in rules.items() if not holds]
        if broken:
            raise BadInput("; ".join(broken))

    def parameters(self) -> dict[str, Any]:
        """Return every setting by name, for cache keys and manifests."""
        return dataclasses.asdict(self)

    def generator(self, image_id: int) -> torch.Generator:
        """Return the generator of one image."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + int(image_id)) % 2**63)
