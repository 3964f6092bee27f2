"""What the effects model says of the parameters of a sweep: what each does, alone and in pairs, and what is left."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats.qmc import Halton

from ikd.config import Recipe, SearchSpace
from ikd.sweep.effects.coordinates import Axes, Matrix
from ikd.sweep.effects.model import Effects, Vector
from ikd.sweep.effects.told import told_by
from ikd.sweep.records.trials import TrialRecord
from ikd.trial import OPEN

PLACES = 15
"""Values of a range at which it is looked at."""
OTHERS = 40
"""Draws of the other parameters over which is averaged."""
PAIR_PLACES, PAIR_OTHERS = 6, 16
"""The same of a pair."""
DRAWS = 400
"""Draws from the posterior."""
TAIL = (0.05, 0.95)
"""Quantiles of an interval of 90 %."""
CANDIDATES = 300
"""Configurations among which a better one is looked for."""
Values = Mapping[str, Any]


@dataclass(frozen=True)
class MainEffect:
    """The objective over one parameter, the others averaged over the space (partial dependence).

    Attributes:
        name: of the parameter.
        values: [G] at which it is looked at, in the order of its domain.
        mean: [G] in points, the larger the better.
        low: [G] lower end of 90 %, of the average.
        high: [G] upper end.
        spread: standard deviation of the objective over the parameter, in points.
        spread_interval: of 90 %.
        covariance: [G, G] of the mean.
    """

    name: str
    values: tuple[Any, ...]
    mean: Vector
    low: Vector
    high: Vector
    spread: float
    spread_interval: tuple[float, float]
    covariance: Matrix

    def difference(self, one: int, other: int) -> tuple[float, float, float]:
        """Return how much better value `one` is than value `other`, by their places, and the ends of 90 %."""
        cover = self.covariance
        half = 1.645 * math.sqrt(max(cover[one, one] + cover[other, other] - 2 * cover[one, other], 0.0))
        change = float(self.mean[one] - self.mean[other])
        return change, change - half, change + half


@dataclass(frozen=True)
class Pair:
    """What two parameters do together beyond what each does alone.

    Attributes:
        names: of both.
        values: at which each is looked at, [G] and [H].
        mean: [G, H] the objective in points, the others averaged.
        strength: standard deviation of the part that the sum of both alone does not explain, in points.
    """

    names: tuple[str, str]
    values: tuple[tuple[Any, ...], tuple[Any, ...]]
    mean: Matrix
    strength: float


@dataclass(frozen=True)
class Step:
    """One change on the way from one configuration to another.

    Attributes:
        changes: parameters that are set with it, and to what; None where one no longer exists.
        values: of the configuration after it.
        mean: expected of it, in points.
        gain: over the step before; 0 of the start.
        interval: of the gain, 90 %.
    """

    changes: Mapping[str, Any]
    values: Values
    mean: float
    gain: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Left:
    """What the space is believed to hold beyond the choice, in points.

    Attributes:
        expected: gain of the best configuration over the choice, on average.
        interval: of 90 %.
        half_point: probability that the best is better than the choice by half a point.
        most: the configuration of the largest mean.
        most_gain: its mean over that of the choice.
    """

    expected: float
    interval: tuple[float, float]
    half_point: float
    most: Values
    most_gain: float


class Insight:
    """The model of a sweep, asked about parameters.

    Args:
        space: resolved.
        model: told what the search has trained.
    """

    def __init__(self, space: SearchSpace, model: Effects) -> None:
        self._space, self._model = space, model
        self.axes = Axes(space)
        self.names = tuple(name for name, domain in space.parameters.items() if domain.size > 1)

    @classmethod
    def of(
        cls, space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], earlier: Sequence[TrialRecord] = ()
    ) -> Insight | None:
        """Return what the trials of a sweep say; None while none of the search has finished."""
        searched = [one for one in records if one.role == "search" and one.in_space]
        ended = [one for one in searched if one.state not in OPEN and one.state != "failed"]
        told = told_by(space, ended, recipe.total_epochs, earlier)
        return None if told is None else cls(space, Effects(told))

    def main(self, name: str) -> MainEffect:
        """Return what one parameter does, where it exists."""
        values = self.values_of(name, PLACES)
        others = self._others([name], OTHERS)
        rows = [{**other, name: value} for value in values for other in others]
        mean, covariance = self._averages(rows, len(values))
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        spreads = self._drawn(mean, covariance).std(axis=1)
        low, high = np.quantile(spreads, TAIL)
        ends = mean - 1.645 * deviation, mean + 1.645 * deviation
        return MainEffect(name, values, mean, *ends, float(np.median(spreads)), (float(low), float(high)), covariance)

    def pair(self, one: str, other: str) -> Pair:
        """Return what two parameters do together, where both exist."""
        first, second = self.values_of(one, PAIR_PLACES), self.values_of(other, PAIR_PLACES)
        others = self._others([one, other], PAIR_OTHERS)
        cells = itertools.product(first, second)
        rows = [{**rest, one: a, other: b} for a, b in cells for rest in others]
        means, _ = self._model.posterior(self.axes.coordinates([self.axes.active(row) for row in rows]))
        mean = means.reshape(len(first), len(second), len(others)).mean(axis=2)
        alone = mean.mean(axis=1, keepdims=True) + mean.mean(axis=0, keepdims=True) - mean.mean()
        return Pair((one, other), (first, second), mean, float((mean - alone).std()))

    def together(self, one: str, other: str) -> bool:
        """Tell whether there are configurations in which both parameters exist, and neither decides on the other."""
        return bool(self._others([one, other], 1)) and not (
            one in self._space.with_ancestors([other]) or other in self._space.with_ancestors([one])
        )

    def path(self, start: Values, end: Values) -> list[Step]:
        """Return the way from one configuration to another, at each step the change that is expected to bring most.

        What a change makes exist comes with it (greedy ablation, Fawcett and Hoos 2016).

        Returns:
            The start first; the last has the values of `end`.
        """
        now = self.axes.active(start)
        ways: list[tuple[dict[str, Any], dict[str, Any]]] = [(now, {})]
        while True:
            left = [name for name in end if name not in now or now[name] != end[name]]
            open_ = [name for name in left if name in now] or left
            if not open_:
                break
            nexts = [self._changed(now, end, name) for name in open_]
            means, _ = self._model.posterior(self.axes.coordinates(nexts))
            best = nexts[int(np.argmax(means))]
            changes = {name: best.get(name) for name in {**now, **best} if now.get(name) != best.get(name)}
            ways.append((best, changes))
            now = best
        return list(self._steps(ways))

    def left(self, chosen: Values) -> Left:
        """Return what the space is believed to hold beyond a configuration."""
        random = np.random.default_rng(self._space.seed)
        candidates = [self.axes.active(self._draw(random)) for _ in range(CANDIDATES)]
        near = [{**self._draw(random), **chosen, name: self._draw(random)[name]} for name in self.names for _ in "1234"]
        candidates += [self.axes.active(one) for one in near]
        means, covariance = self._model.joint(self.axes.coordinates([dict(chosen), *candidates]))
        drawn = self._drawn(means, covariance)
        beyond = np.maximum(drawn[:, 1:].max(axis=1) - drawn[:, 0], 0.0)
        low, high = np.quantile(beyond, TAIL)
        best = int(np.argmax(means[1:]))
        gain = float(means[1:][best] - means[0])
        interval = (float(low), float(high))
        return Left(float(beyond.mean()), interval, float((beyond >= 0.5).mean()), candidates[best], gain)

    def expected(self, values: Values) -> tuple[float, float]:
        """Return mean and standard deviation of a configuration, in points."""
        mean, variance = self._model.posterior(self.axes.coordinates([values]))
        return float(mean[0]), math.sqrt(float(variance[0]))

    def values_of(self, name: str, most: int) -> tuple[Any, ...]:
        """Return values of a parameter: all choices, and of a range at most so many, evenly."""
        domain, scale = self._space.parameters[name], self.axes.scales[name]
        if domain.choice is not None:
            return tuple(domain.choice)
        places = [index / (most - 1) if most > 1 else 0.5 for index in range(most)]
        return tuple(dict.fromkeys(scale.at(place) for place in places))

    def _steps(self, ways: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[Step]:
        means, cover = self._model.joint(self.axes.coordinates([values for values, _ in ways]))
        for index, (values, changes) in enumerate(ways):
            before = max(index - 1, 0)
            variance = cover[index, index] + cover[before, before] - 2 * cover[index, before]
            half, gain = 1.645 * math.sqrt(max(float(variance), 0.0)), float(means[index] - means[before])
            yield Step(changes, values, float(means[index]), gain, (gain - half, gain + half))

    def _changed(self, now: Values, end: Values, name: str) -> dict[str, Any]:
        """Return a configuration with one value of `end`, and what comes into existence by it."""
        return self.axes.active({**end, **now, name: end[name]})

    def _averages(self, rows: Sequence[Values], groups: int) -> tuple[Vector, Matrix]:
        """Return mean [G] and covariance [G, G] of the averages of equal groups of configurations."""
        means, cover = self._model.joint(self.axes.coordinates([self.axes.active(row) for row in rows]))
        size = len(rows) // groups
        return means.reshape(groups, size).mean(1), cover.reshape(groups, size, groups, size).mean(axis=(1, 3))

    def _drawn(self, mean: Vector, covariance: Matrix) -> Matrix:
        """Return draws [S, M] from a normal distribution, the same every time."""
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        draws = np.random.default_rng(self._space.seed).standard_normal((DRAWS, len(mean)))
        return mean + draws @ root.T

    def _others(self, names: Sequence[str], count: int) -> list[dict[str, Any]]:
        """Return draws of all parameters under which these exist; none where they never do together."""
        even = Halton(len(self.axes.scales), rng=self._space.seed)  # averages of even draws are nearer to the truth
        scales, found = self.axes.scales.items(), list[dict[str, Any]]()
        for units in even.random(50 * count):
            values = {name: scale.at(float(unit)) for (name, scale), unit in zip(scales, units, strict=True)}
            if set(names) <= set(self.axes.active(values)):
                found.append(values)
            if len(found) == count:
                break
        return found

    def _draw(self, random: np.random.Generator) -> dict[str, Any]:
        """Return a value for every parameter, whether it exists or not."""
        return {name: scale.at(float(random.random())) for name, scale in self.axes.scales.items()}
