"""What is believed of every configuration of a sweep: the one definition of which is chosen."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ikd.config import Recipe, SearchSpace
from ikd.sweep.effects.coordinates import Coordinates
from ikd.sweep.effects.model import Effects
from ikd.sweep.effects.told import objective, told_by
from ikd.sweep.records.trials import TrialRecord, best_of
from ikd.trial import OPEN

OWN = 0.1
"""Variance of what is a configuration's own, beyond what the model explains, as a share of the noise."""
PRIOR_TRAININGS = 4
"""How many degrees of freedom the model's noise counts against those of repeated trainings."""
DRAWS = 1000
"""Draws from which the probability of being the best is counted."""
WITHIN = 1.6448536269514722
"""Standard deviations of a normal distribution between which 90 % lie."""


@dataclass(frozen=True)
class Configuration:
    """What is believed of a configuration, in points of the objective, the larger the better.

    Attributes:
        trainings: that have finished, those kept apart left out; the search's first.
        running: repeats that have not ended.
        mean: expected objective, without the luck of a seed.
        variance: of that.
    """

    trainings: tuple[TrialRecord, ...]
    running: int
    mean: float
    variance: float

    @property
    def number(self) -> int:
        """The trial that it is called by: the search's."""
        return self.trainings[0].number

    @property
    def interval(self) -> tuple[float, float]:
        """Where the expected objective lies with a probability of 90 %."""
        half = WITHIN * math.sqrt(self.variance)
        return self.mean - half, self.mean + half

    def costs(self, names: Sequence[str]) -> tuple[float, ...]:
        """Return some costs, in the units of their names: the mean over the trainings; NaN where none has it."""
        measured = [[cost for cost in own if math.isfinite(cost)] for own in self._by_cost(names)]
        return tuple(sum(own) / len(own) if own else math.nan for own in measured)

    def _by_cost(self, names: Sequence[str]) -> list[tuple[float, ...]]:
        return list(zip(*(one.costs(names) for one in self.trainings), strict=True))


@dataclass(frozen=True)
class Standing:
    """All configurations that have a finished training.

    Attributes:
        space: what is searched.
        configurations: the best expected first.
        noise: variance between trainings of one configuration, in squared points, as the model has it.
        pooled: the same after the repeats: (4 noise + SS) / (4 + df), SS within configurations.
    """

    space: SearchSpace
    configurations: tuple[Configuration, ...]
    noise: float
    pooled: float

    @property
    def chosen(self) -> Configuration:
        """The configuration of the largest expected objective."""
        return self.configurations[0]

    @cached_property
    def chances(self) -> Mapping[int, float]:
        """The probability that each configuration is the best of all, by the number of its trial.

        Counted in draws from what is believed of each, seeded by the space.
        """
        means = np.array([one.mean for one in self.configurations])
        deviations = np.sqrt([one.variance for one in self.configurations])
        draws = np.random.default_rng(self.space.seed).standard_normal((DRAWS, len(means)))
        wins = np.bincount(np.argmax(means + deviations * draws, axis=1), minlength=len(means))
        return {one.number: float(count) / DRAWS for one, count in zip(self.configurations, wins, strict=True)}

    @cached_property
    def training(self) -> TrialRecord:
        """The training of the chosen configuration that is exported, see `training_of`."""
        return self.training_of(self.chosen)

    def training_of(self, one: Configuration) -> TrialRecord:
        """Return the training that stands for a configuration: the one nearest to what is expected of it.

        Not the one with the luckiest seed, whose weights are no better for it.
        """
        return min(one.trainings, key=lambda training: (abs(self.value(training) - one.mean), training.number))

    @cached_property
    def seen(self) -> TrialRecord:
        """The training of the search or of the repeats with the best objective: luck in part, and never the choice."""
        every = [training for one in self.configurations for training in one.trainings]
        return max(every, key=lambda one: (self.value(one), -one.number))

    def value(self, training: TrialRecord) -> float:
        """Return the objective of a training, in points, the larger the better."""
        return objective(self.space, training)

    @property
    def luck(self) -> float:
        """How much of what `seen` has is expected to be the luck of its seed, in points."""
        seen = self.seen
        own = next(one for one in self.configurations if seen in one.trainings)
        return self.value(seen) - own.mean

    def of(self, trial: TrialRecord) -> Configuration | None:
        """Return the configuration that a trial trains, kept apart or not; None where the search's has not finished."""
        number = trial.number if trial.of is None else trial.of
        return next((one for one in self.configurations if any(t.number == number for t in one.trainings)), None)


def exported(known: Standing | None, records: Sequence[TrialRecord], mode: str) -> TrialRecord | None:
    """Return the training that stands for a sweep: that of the choice, and before there is one the best trial so far.

    Args:
        known: of the records; None while no configuration has finished.
        records: every trial.
        mode: of the objective.
    """
    return known.training if known is not None else best_of(records, mode)


def standing(
    space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], *, earlier: Sequence[TrialRecord] = ()
) -> Standing | None:
    """Return what is believed of the configurations of a sweep, None while none has finished.

    Mean and variance of the effects model, told what the search has trained, and a variance of its own for each
    configuration; then repeats with other seeds, each weighing by its precision. Trainings kept apart are not looked
    at.

    Args:
        space: resolved.
        recipe: the base.
        records: every trial.
        earlier: trials of other sweeps that the model learns from.
    """
    searched = [one for one in records if one.role == "search" and one.in_space]
    ended = [one for one in searched if one.state not in OPEN and one.state != "failed"]
    told = told_by(space, ended, recipe.total_epochs, earlier)
    groups = _grouped(space, records)
    if told is None or not groups:
        return None
    model = Effects(told)
    repeats = _repeats(space, records)
    means, variances = model.posterior(Coordinates.of(space, [group[0].values for group in groups]))
    values = [[objective(space, one) for one in group] for group in groups]
    again = [[one for first in group for one in repeats.get(first.number, ())] for group in groups]
    done = [[one for one in group if one.state == "finished"] for group in again]
    more = [[objective(space, one) for one in group] for group in done]
    pooled = _pooled(model.noise, [[*first, *others] for first, others in zip(values, more, strict=True)])
    found = []
    for index, group in enumerate(groups):
        prior = 1.0 / (float(variances[index]) + OWN * model.noise)
        precision = prior + len(more[index]) / pooled
        mean = (prior * float(means[index]) + sum(more[index]) / pooled) / precision
        running = sum(one.state in OPEN for one in again[index])
        found.append(Configuration((*group, *done[index]), running, mean, 1.0 / precision))
    ordered = sorted(found, key=lambda one: (-one.mean, one.number))
    return Standing(space, tuple(ordered), model.noise, pooled)


def _grouped(space: SearchSpace, records: Sequence[TrialRecord]) -> list[list[TrialRecord]]:
    """Return the finished trials of the search by configuration: a full factorial may have one more than once."""
    groups: dict[str, list[TrialRecord]] = defaultdict(list)
    for one in records:
        whole = one.role == "search" and one.in_space and one.state == "finished"
        if whole and math.isfinite(objective(space, one)):
            point = space.active({name: value for name, value in one.values.items() if name in space.parameters})
            groups[json.dumps(point, sort_keys=True)].append(one)
    return list(groups.values())


def _repeats(space: SearchSpace, records: Iterable[TrialRecord]) -> dict[int, list[TrialRecord]]:
    """Return repeats that run or have an objective, by the number of the trial that they repeat."""
    found: dict[int, list[TrialRecord]] = defaultdict(list)
    for one in records:
        if one.role != "repeat" or one.of is None:
            continue
        if one.state in OPEN or (one.state == "finished" and math.isfinite(objective(space, one))):
            found[one.of].append(one)
    return found


def _pooled(noise: float, values: Sequence[Sequence[float]]) -> float:
    """Return the variance between trainings of one configuration, by the model and by those trained repeatedly."""
    squares, freedom = 0.0, 0
    for own in values:
        mean = sum(own) / len(own)
        squares += sum((value - mean) ** 2 for value in own)
        freedom += len(own) - 1
    return (PRIOR_TRAININGS * noise + squares) / (PRIOR_TRAININGS + freedom)
