"""NSGA-II with generations taken from the records, and children that keep conditional parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ikd.sweep.samplers.history import History, Values
from ikd.sweep.samplers.random import random_sampler
from ikd.sweep.samplers.views import SHORTFALL, proposals, study_view
from ikd.sweep.study.distributions import distributions
from ikd.trial import OPEN

SWAPPING = 0.5
"""Probability that a child has a parameter from its second parent."""


def nsga2_values(history: History) -> Iterator[Values]:
    """Yield children of the last whole generation, random draws while there is none."""

    def make(seed: int) -> BaseSampler:
        return Nsga2Sampler(history, random_sampler(history, seed), seed)

    yield from proposals(history, study_view(history, "nsga2"), make)


class Nsga2Sampler(NSGAIISampler):
    """Optuna's NSGA-II with two changes.

    Which generation a trial belongs to is not noted while it is sampled but follows from the records: known trials in
    order of number, earlier sweeps first, `population` each. The parents of a proposal are those selected from the last
    generation of which every trial has ended, and its own parents.

    Optuna crosses over only what every trial has; under conditions that leaves little. Here a child takes each
    parameter from either parent, or from the one that has it. What neither has, and what mutates, is drawn beside it.

    Args:
        history: what the proposal is made from.
        beside: draws the first generation and mutations.
        seed: of crossover and mutation.
    """

    def __init__(self, history: History, beside: BaseSampler, seed: int) -> None:
        settings = history.space.sampler.nsga2
        assert settings is not None
        super().__init__(population_size=settings.population, seed=seed)
        self._settings = settings
        self._history, self._beside = history, beside
        self._random = np.random.default_rng(seed)
        self._generation = whole_generations(history)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return every parameter once there are parents."""
        names = list(self._history.space.ordered()) if self._generation else []
        return {name: one for name, one in distributions(self._history.space, names).items() if not one.single()}

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return the generation that the trial to be belongs to."""
        return self._generation

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the trials of a generation that is over."""
        size = self._settings.population
        known = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.RUNNING])
        return [one for one in known[generation * size : (generation + 1) * size] if one.state is TrialState.COMPLETE]

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a child; empty in the first generation."""
        if not search_space:
            return {}
        elite = self.get_parent_population(study, self._generation)
        one = self._winner(elite, study.directions)
        child = dict(one.params)
        if self._random.random() < self._settings.crossover_probability:
            other = self._winner([parent for parent in elite if parent.number != one.number] or elite, study.directions)
            taken = {name for name in other.params if name not in child or self._random.random() < SWAPPING}
            child |= {name: other.params[name] for name in sorted(taken)}
        rate = self._settings.mutation_probability
        rate = 1 / max(1, len(one.params)) if rate is None else rate
        return {name: child[name] for name in search_space if name in child and self._random.random() >= rate}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw what the child does not have."""
        return self._beside.sample_independent(study, trial, param_name, param_distribution)

    def _winner(self, elite: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> FrozenTrial:
        """Return the better of two, the first where neither is (binary tournament)."""
        first, second = (elite[index] for index in self._random.integers(len(elite), size=2))
        return second if _beats(second, first, directions) else first


def whole_generations(history: History) -> int:
    """Return how many generations have ended before the first that has not."""
    assert history.space.sampler.nsga2 is not None
    size, known = history.space.sampler.nsga2.population, history.known
    open_ = next((index for index, record in enumerate(known) if record.state in OPEN), len(known))
    return open_ // size


def _beats(one: FrozenTrial, other: FrozenTrial, directions: Sequence[StudyDirection]) -> bool:
    """Tell whether a trial dominates another: by less of a shortfall, else in no objective worse and in one better."""
    short, shorter = one.constraints.get(SHORTFALL, 0.0), other.constraints.get(SHORTFALL, 0.0)
    if short or shorter:
        return short < shorter
    signs = np.array([-1.0 if direction is StudyDirection.MAXIMIZE else 1.0 for direction in directions])
    gap = signs * (np.array(one.values) - np.array(other.values))
    return bool((gap <= 0).all() and (gap < 0).any())
