"""Searches whose answer is known: families of made learning curves, drawn anew for each seed.

A configuration is worth the sum of what its parts bring: each choice a level of its own; each number a bump around an
optimum of its own, which brings nothing on the mean of its range; some pairs of toggles something only together. Every
draw is scaled so that the best is `GAP` above the median of even draws.

    hosts         four host losses, each with weights of its own, and toggles; early epochs tell much of the end
    crossing      the same for 12 epochs whose curves cross: a third of a training tells little of its end
    interactions  toggles that cost alone and pay only together

They are partly additive by construction, which a model of main effects likes; the recorded surrogates are not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from benchmarks.search.recording import Recording
from benchmarks.search.worlds import Array, World, even_draws
from ikd.config import SearchSpace
from ikd.sweep.records.domains import at, place

BEST, GAP = 36.0, 3.0
"""Of every draw, in points of mAP: what the best configuration is worth, and by how much the median is below."""
DRAWN = 600
"""Even draws that a draw is scaled by."""
CLIMBED = 3
"""How many of them are improved, one parameter after the other, to find the best."""
PLACES = 20
"""Of a number that are tried there."""
WIDTH = 0.2
"""Standard deviation of a bump, as a share of the range."""
HIGHER, ALONE = 0.8, 0.35
"""Quantiles of even draws: what noise is a share of the best's lead over, and where the student alone is."""
EARLY_NOISE, HELD = 1.4, 0.5
"""Noise of the first epoch over that of the last; correlation of neighbouring epochs."""
RISE = 3.0
"""Time constants of the common part of all curves in a training."""

Values = Mapping[str, Any]
BOTH = [True, False]
HOSTS: Mapping[str, Any] = {
    "distill.host": {"choice": ["fgd", "mgd", "pkd", "cwd"]},
    "distill.fgd.alpha": {"log_uniform": [1e-5, 1e-3], "when": {"distill.host": "fgd"}},
    "distill.fgd.gamma": {"log_uniform": [5e-6, 5e-4], "when": {"distill.host": "fgd"}},
    "distill.mgd.alpha": {"log_uniform": [2e-8, 2e-5], "when": {"distill.host": "mgd"}},
    "distill.mgd.mask_ratio": {"uniform": [0.0, 0.7], "step": 0.1, "when": {"distill.host": "mgd"}},
    "distill.pkd.weight": {"log_uniform": [0.3, 10.0], "when": {"distill.host": "pkd"}},
    "distill.cwd.weight": {"log_uniform": [0.05, 5.0], "when": {"distill.host": "cwd"}},
    "student.inherit": {"choice": BOTH},
    "adversarial.enabled": {"choice": BOTH},
    "adversarial.weight": {"log_uniform": [1e-8, 1e-5], "when": {"adversarial.enabled": True}},
    "augment.enabled": {"choice": BOTH},
    "augment.area_threshold": {"choice": [1024, 2304, 4096], "when": {"augment.enabled": True}},
    "augment.crop.min_ratio": {"uniform": [0.6, 0.95], "when": {"augment.enabled": True}},
}
TOGGLES: Mapping[str, Any] = {
    "distill.host": {"choice": ["fgd", "mgd", "pkd"]},
    "distill.fgd.alpha": {"log_uniform": [1e-5, 1e-3], "when": {"distill.host": "fgd"}},
    "distill.mgd.alpha": {"log_uniform": [2e-8, 2e-5], "when": {"distill.host": "mgd"}},
    "distill.pkd.weight": {"log_uniform": [0.3, 10.0], "when": {"distill.host": "pkd"}},
    "student.inherit": {"choice": BOTH},
    "distill.sfa.enabled": {"choice": BOTH},
    "distill.sfa.weight": {"log_uniform": [0.1, 10.0], "when": {"distill.sfa.enabled": True}},
    "adversarial.enabled": {"choice": BOTH},
    "adversarial.weight": {"log_uniform": [1e-8, 1e-5], "when": {"adversarial.enabled": True}},
    "augment.noise.enabled": {"choice": BOTH},
    "augment.noise.sigma": {"log_uniform": [0.02, 0.26], "when": {"augment.noise.enabled": True}},
    "augment.crop.enabled": {"choice": BOTH},
    "augment.crop.min_ratio": {"uniform": [0.6, 0.95], "when": {"augment.crop.enabled": True}},
}


@dataclass(frozen=True)
class Family:
    """What is common to the draws of a family.

    Attributes:
        parameters: as in a search-space file.
        epochs: of a training.
        noise: standard deviation over seeds at the last epoch, as a share of the best's lead over the 80th percentile
            of even draws.
        third: how much of what sets configurations apart after a third of the epochs is what does so at the end; the
            rest is another draw of the same family.
        level: standard deviation of what a choice brings by itself.
        together: pairs of toggles that pay when both are on; each toggle of the family costs by itself then.
    """

    parameters: Mapping[str, Any]
    epochs: int
    noise: float
    third: float
    level: float = 0.7
    together: int = 0


FAMILIES = {
    "hosts": Family(HOSTS, epochs=6, noise=0.45, third=0.45),
    "crossing": Family(HOSTS, epochs=12, noise=0.30, third=0.20),
    "interactions": Family(TOGGLES, epochs=6, noise=0.45, third=0.30, level=0.3, together=4),
}


def family_world(name: str, seed: int) -> World:
    """Return one draw of a family."""
    family = FAMILIES[name]
    base = Recording(
        name,
        {"recipe": "small_r18", "objective": {"metric": "bbox_mAP", "mode": "max"}, "parameters": family.parameters},
        {"schedule.epochs": family.epochs},
        (),
    )
    space = base.searched()
    rng = np.random.default_rng([seed, *name.encode()])
    end, early = Worth(space, family, rng), Worth(space, family, rng)
    draws = even_draws(space, DRAWN, rng)
    drawn = np.array([[worth(values) for values in draws] for worth in (end, early)])
    highest = best_of(space, end, [draws[index] for index in np.argsort(-drawn[0])[:CLIMBED]])
    median, spread = np.median(drawn, 1), drawn.std(1)
    scale = GAP / (highest - median[0])
    last = GAP * np.array([1.0, spread[0] / spread[1]]) / (highest - median[0])
    # share of the end at each epoch: `third` after a third, 1 after all of them
    share = (np.arange(1, family.epochs + 1) / family.epochs) ** (np.log(family.third) / np.log(1 / 3))
    common = (BEST - GAP) * _rise(family.epochs)

    def curve(values: Values) -> Array:
        apart = last * (np.array([end(values), early(values)]) - median)
        return np.clip((common + share * apart[0] + (1 - share) * apart[1]) / 100, 0.0, 1.0)

    noise = family.noise * scale * (highest - float(np.quantile(drawn[0], HIGHER)))
    alone = common + scale * (float(np.quantile(drawn[0], ALONE)) - median[0])
    return World(base, family.epochs, curve, _noise_factor(family.epochs, noise / 100), alone / 100)


class Worth:
    """What configurations are worth at one time of their training, in units of its own.

    Attributes:
        levels: what each choice brings.
        bumps: optimum in the unit interval and height for each number.
        together: what pairs of parameters bring when both are on.
    """

    def __init__(self, space: SearchSpace, family: Family, rng: np.random.Generator) -> None:
        self._space = space
        toggles = [name for name, domain in space.parameters.items() if list(domain.choice or ()) == BOTH]
        self.levels: dict[str, dict[Any, float]] = {}
        self.bumps: dict[str, tuple[float, float]] = {}
        for name, domain in space.parameters.items():
            if domain.choice is not None:
                self.levels[name] = {one: family.level * float(rng.standard_normal()) for one in domain.choice}
            else:
                self.bumps[name] = (float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.5, 1.5)))
        self.together: dict[tuple[str, str], float] = {}
        if family.together:
            pairs = list(itertools.combinations(toggles, 2))
            chosen = rng.choice(len(pairs), family.together, replace=False)
            self.together = {pairs[index]: float(rng.uniform(0.8, 1.6)) for index in chosen}
            self.levels |= {name: {True: -float(rng.uniform(0.2, 0.6)), False: 0.0} for name in toggles}

    def __call__(self, values: Values) -> float:
        """Return what a configuration is worth."""
        worth = sum(self.levels[name][value] for name, value in values.items() if name in self.levels)
        for name, (optimum, height) in self.bumps.items():
            if name in values:
                far = (place(self._space.parameters[name], values[name]) - optimum) / WIDTH
                worth += height * (math.exp(-0.5 * far * far) - _mean_of_bump(optimum))
        return worth + sum(gain for (one, two), gain in self.together.items() if values[one] and values[two])


def _mean_of_bump(optimum: float) -> float:
    low, high = -optimum / WIDTH, (1 - optimum) / WIDTH
    return WIDTH * math.sqrt(2 * math.pi) * float(ndtr(high) - ndtr(low))


def best_of(space: SearchSpace, worth: Callable[[Values], float], starts: Sequence[Values]) -> float:
    """Return the most that is found by changing one parameter after the other, from some configurations."""
    return max(_climbed(space, worth, dict(start)) for start in starts)


def _climbed(space: SearchSpace, worth: Callable[[Values], float], values: dict[str, Any]) -> float:
    best, before = worth(values), -np.inf
    middle = {name: at(domain, 0.5) for name, domain in space.parameters.items()}
    while best > before:
        before = best
        for name in space.ordered():
            domain = space.parameters[name]
            tried = list(domain.choice or [at(domain, (index + 0.5) / PLACES) for index in range(PLACES)])
            others = [space.active({**middle, **values, name: one}) for one in tried if name in values]
            values = max([values, *others], key=worth)
        best = worth(values)
    return best


def _rise(epochs: int) -> Array:
    rise = 1 - 0.6 * np.exp(-RISE * np.arange(1, epochs + 1) / epochs)
    return np.asarray(rise / rise[-1])


def _noise_factor(epochs: int, last: float) -> Array:
    spread = last * np.linspace(EARLY_NOISE, 1.0, epochs)
    apart = np.abs(np.subtract.outer(np.arange(epochs), np.arange(epochs)))
    return np.asarray(np.linalg.cholesky(np.outer(spread, spread) * HELD**apart))
