"""The settings of an attack, and their rules."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from ikd.config import MAX_EPS, Attack
from ikd.errors import refuse

AttackLoss = Literal["cls", "cls+reg", "feature_distance"]
_SECTION = Attack()


@dataclass(frozen=True, kw_only=True)
class AttackSettings:
    """How strong an attack is, and what it maximises; the defaults are those of the recipe's section `attack`.

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

    eps: float = _SECTION.eps
    step: float = _SECTION.step
    steps: int = _SECTION.steps
    momentum: float = _SECTION.momentum
    diversity_probability: float = _SECTION.diversity.probability
    diversity_min_scale: float = _SECTION.diversity.min_scale
    loss: AttackLoss = _SECTION.loss
    published: bool = _SECTION.published
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= MAX_EPS:
            refuse("attack: eps", f"must be in 0..{MAX_EPS:g} grey levels", self.eps)
        if not 0 <= self.step <= self.eps:
            refuse("attack: step", f"must be in 0..eps, which is {self.eps}", self.step)
        if not self.steps >= 1:
            refuse("attack: steps", "must be at least 1", self.steps)
        if not 0 <= self.momentum < float("inf"):
            refuse("attack: momentum", "must be at least 0", self.momentum)
        if not 0 <= self.diversity_probability <= 1:
            refuse("attack: diversity_probability", "must be in 0..1", self.diversity_probability)
        if not 0 < self.diversity_min_scale <= 1:
            refuse("attack: diversity_min_scale", "must be above 0, at most 1", self.diversity_min_scale)
        if self.loss not in get_args(AttackLoss):
            refuse("attack: loss", f"must be one of {', '.join(get_args(AttackLoss))}", self.loss)
        if self.published and self.loss != "cls":
            refuse("attack: loss", "must be cls with published", self.loss)

    def parameters(self) -> dict[str, Any]:
        """Return every setting by name, for cache keys and manifests."""
        return dataclasses.asdict(self)

    def generator(self, image_id: int) -> torch.Generator:
        """Return the generator of one image."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + int(image_id)) % 2**63)
