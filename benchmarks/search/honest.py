"""Is what a sweep says of its choice true? The gain over the strongest anchor, of sweeps whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.search.methods import new
from benchmarks.search.simulate import ANCHORS, simulate
from benchmarks.search.worlds import World, at_the_end
from ikd.sweep.confirm.apart import CONFIDENCE, gain_of
from ikd.sweep.confirm.standing import standing

ANCHORS_OF_TWO = [*ANCHORS, "inherit_alone"]
"""Two anchors to beat. A world trains both to the same: which is the stronger is luck, and shows in no figure."""
SURE = 0.95
"""Probability of a gain from which on it counts as claimed."""


@dataclass(frozen=True)
class Told:
    """What one sweep says of the gain of its choice, in points of mAP.

    Attributes:
        difference: of the trainings kept apart.
        interval: that holds the truth with 90 %, as it says.
        probability: of a gain, as it says.
        truth: the same difference without noise.
    """

    difference: float
    interval: tuple[float, float]
    probability: float
    truth: float

    @property
    def holds(self) -> bool:
        """Whether the interval holds the truth."""
        return self.interval[0] <= self.truth <= self.interval[1]


def told(world: World, seed: int, trainings: int) -> Told | None:
    """Return what a sweep of the new default says; None where it says nothing, as the anchor itself is the choice."""
    sweep = simulate(world, new(world, trainings) | {"anchors": ANCHORS_OF_TWO}, seed=seed)
    known = standing(sweep.space, sweep.recipe, sweep.records)
    gain = None if known is None else gain_of(sweep.space, sweep.records, known)
    if known is None or gain is None:
        return None
    truth = at_the_end(sweep.expected[known.chosen.number]) - at_the_end(sweep.expected[gain.anchor.number])
    return Told(gain.difference, gain.interval, gain.probability, truth)


@dataclass(frozen=True)
class Honesty:
    """How true it is what many sweeps say.

    Attributes:
        sweeps: that said something.
        coverage: share of them whose interval holds the truth.
        bias: mean of what they say above the truth, in points of mAP.
        width: mean of the interval's, in points.
        sure: share that says that there is a gain.
        right: share of those in which there is one; NaN where none does.
    """

    sweeps: int
    coverage: float
    bias: float
    width: float
    sure: float
    right: float

    @classmethod
    def of(cls, found: Iterable[Told]) -> Honesty:
        """Return how true it is."""
        every = list(found)
        claims = [one.truth > 0 for one in every if one.probability > SURE]
        return cls(
            len(every),
            float(np.mean([one.holds for one in every])),
            float(np.mean([one.difference - one.truth for one in every])),
            float(np.mean([one.interval[1] - one.interval[0] for one in every])),
            len(claims) / len(every),
            float(np.mean(claims)) if claims else float("nan"),
        )

    def row(self, name: str) -> str:
        """Return a row of `HEAD`'s table."""
        cells = [str(self.sweeps), f"{self.coverage:.3f}", f"{self.bias:+.2f}", f"{self.width:.1f}"]
        return f"| {name} | {' | '.join([*cells, f'{self.sure:.2f}', f'{self.right:.3f}'])} |"


HEAD = (
    f"| world, trainings | sweeps | {CONFIDENCE:.0%} interval holds | bias | its width | P > {SURE} | of those true |\n"
    "|---|---:|---:|---:|---:|---:|---:|"
)
