"""Independent draws, from the priors where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import optuna

from ikd.sweep.samplers.history import History, Values
from ikd.sweep.samplers.priors import PriorSampler, priors_of
from ikd.sweep.samplers.views import blank_view, proposals


def random_values(history: History) -> Iterator[Values]:
    """Yield independent draws."""
    yield from proposals(history, blank_view(history), partial(random_sampler, history))


def random_sampler(history: History, seed: int) -> optuna.samplers.BaseSampler:
    """Return what draws independently: alone, and beside the models."""
    priors = priors_of(history.space)
    return PriorSampler(seed, priors) if priors else optuna.samplers.RandomSampler(seed)
