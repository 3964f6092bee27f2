"""What searches are compared on: a space, and what every configuration of it would train to, without training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.recording import Recording
from ikd.config import SearchSpace
from ikd.sweep.records.domains import at

Array = NDArray[np.float64]
EVEN_SEED = 0
"""Of the even draws that tell what a space holds: the same for every search of it."""
COUNTED = 2
"""Validations at the end whose mean ikd compares trainings by."""


@dataclass(frozen=True)
class World:
    """Trains in microseconds.

    Attributes:
        base: space and base recipe; its trainings are not looked at.
        epochs: of a training.
        curve: from values to the learning curve (E,) averaged over seeds (AP in 0..1).
        noise: (E, K) makes of K independent standard normals what a seed adds.
        alone: learning curve (E,) of the student without distillation, averaged over seeds.
    """

    base: Recording
    epochs: int
    curve: Callable[[Mapping[str, Any]], Array]
    noise: Array
    alone: Array
    _known: dict[str, Array] = field(default_factory=dict, repr=False, compare=False)

    def expected(self, values: Mapping[str, Any]) -> Array:
        """Return the learning curve (E,) of a configuration, averaged over seeds (AP in 0..1)."""
        key = json.dumps(values, sort_keys=True)
        if key not in self._known:
            self._known[key] = self.curve(values)
        return self._known[key]

    def paper(self) -> dict[str, Any]:
        """Return the base recipe's values as a point of the space."""
        return paper_of(self.base, self.base.searched())

    def train(self, expected: Array, fingerprint: str) -> Array:
        """Return the learning curve (E,) of one training; the same for the same recipe, seed included.

        Args:
            expected: of its configuration.
            fingerprint: of its recipe.
        """
        seed = int.from_bytes(hashlib.sha256(fingerprint.encode()).digest()[:8], "big")
        normal = np.random.default_rng(seed).standard_normal(self.noise.shape[1])
        return np.clip(expected + self.noise @ normal, 0.0, 1.0)


def paper_of(base: Recording, space: SearchSpace) -> dict[str, Any]:
    """Return the base recipe's values as a point of the space."""
    recipe = base.recipe()
    return space.active({name: recipe.value(name) for name in space.ordered()})


def even_draws(space: SearchSpace, count: int, rng: np.random.Generator | None = None) -> list[dict[str, Any]]:
    """Return configurations drawn evenly from a space."""
    rng = rng or np.random.default_rng(EVEN_SEED)
    units = rng.random((count, len(space.parameters)))
    domains = list(space.parameters.items())
    rows = (zip(domains, row, strict=True) for row in units)
    return [space.active({name: at(domain, float(unit)) for (name, domain), unit in row}) for row in rows]


def best_epoch(curve: Array) -> float:
    """Return what a configuration is worth, in points of mAP: its noise-free curve at its best epoch."""
    return 100 * float(curve.max())


def at_the_end(curve: Array) -> float:
    """Return what ikd compares trainings by, in points of mAP: the mean of the last two validations."""
    return 100 * float(curve[-COUNTED:].mean())
