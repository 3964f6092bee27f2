"""The samplers: each yields values that it would try next, the best first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import optuna

from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.nsga2 import Nsga2Sampler
from ikd.sweep.samplers.priors import priors_of
from ikd.sweep.samplers.tpe import _random, _tpe_values
from ikd.sweep.samplers.views import asked, blank_view, study_view

MODEL_DRAWS = 8
"""Draws from the model before a duplicate makes us draw at random."""
RANDOM_DRAWS = 200
"""Random draws before the space is searched one by one (finite) or called exhausted (continuous)."""

Make = Callable[[int], optuna.samplers.BaseSampler]


def drawn_values(history: History) -> Iterator[dict[str, Any]]:
    """Yield the sampler's proposals, then random ones; a function of the history alone.

    Every draw has a sampler made anew, seeded by the space's seed, the trial's number and the number of the draw.
    """
    yield from itertools.islice(_model_values(history), MODEL_DRAWS)
    view = blank_view(history)
    for attempt in range(MODEL_DRAWS, MODEL_DRAWS + RANDOM_DRAWS):
        yield asked(history, view, _random(history, history.seed(attempt)))


def _model_values(history: History) -> Iterator[dict[str, Any]]:
    sampler = history.space.sampler
    if sampler.qmc is not None:
        from ikd.sweep.samplers.qmc import qmc_values  # here and below: slow to import, and few sweeps need them

        yield qmc_values(history)
    elif sampler.cmaes is not None:
        from ikd.sweep.samplers.cmaes import cmaes_values

        yield from cmaes_values(history)
    elif sampler.tpe is not None:
        yield from _tpe_values(history, sampler.tpe)
    elif sampler.gp is not None:
        yield from _asked(history, study_view(history, "gp"), lambda seed: _gp(history, seed))
    elif sampler.nsga2 is not None:
        view = study_view(history, "nsga2")
        yield from _asked(history, view, lambda seed: Nsga2Sampler(history, _random(history, seed), seed))
    else:
        yield from _asked(history, blank_view(history), lambda seed: _random(history, seed))


def _asked(history: History, view: optuna.Study, make: Make) -> Iterator[dict[str, Any]]:
    for attempt in itertools.count():
        yield asked(history, view, make(history.seed(attempt)))


def _gp(history: History, seed: int) -> optuna.samplers.BaseSampler:
    from ikd.sweep.samplers.gp import GpSampler

    gp = history.space.sampler.gp
    assert gp is not None
    return GpSampler(gp.startup_trials, priors_of(history.space), _random(history, seed), seed)
