"""The samplers: each yields values that it would try next, the best first."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import optuna
from optuna.trial import TrialState

from ikd.config import Tpe
from ikd.sweep._samplers_history import History
from ikd.sweep._samplers_nsga2 import Nsga2Sampler
from ikd.sweep._samplers_prior import PriorSampler, picked, priors_of
from ikd.sweep._samplers_view import asked, blank_view, study_view

MODEL_DRAWS = 8
"""Draws from the model before a duplicate makes us draw at random."""
RANDOM_DRAWS = 200
"""Random draws before the space is searched one by one (finite) or called exhausted (continuous)."""
PRIOR_DRAWS = 8
"""Proposals of TPE among which a prior chooses."""

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
        from ikd.sweep._samplers_qmc import qmc_values  # here and below: slow to import, and few sweeps need them

        yield qmc_values(history)
    elif sampler.cmaes is not None:
        from ikd.sweep._samplers_cmaes import cmaes_values

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


def _tpe_values(history: History, tpe: Tpe) -> Iterator[dict[str, Any]]:
    """Yield proposals of TPE; with priors, start-up draws follow them and later ones are picked by them."""
    view, priors = study_view(history, "tpe"), priors_of(history.space)
    told = len(view.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED]))
    for attempt in itertools.count():
        seed = history.seed(attempt)
        if not priors:
            yield asked(history, view, _tpe(tpe, seed))
        elif told < tpe.startup_trials:
            yield asked(history, view, _random(history, seed))
        else:
            candidates = [asked(history, view, _tpe(tpe, history.seed(attempt, draw))) for draw in range(PRIOR_DRAWS)]
            yield picked(candidates, priors, max(tpe.startup_trials, 1) / max(told, 1), seed)


def _random(history: History, seed: int) -> optuna.samplers.BaseSampler:
    priors = priors_of(history.space)
    return PriorSampler(seed, priors) if priors else optuna.samplers.RandomSampler(seed)


def _tpe(tpe: Tpe, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group=True
        return optuna.samplers.TPESampler(
            n_startup_trials=tpe.startup_trials,
            multivariate=tpe.multivariate,
            group=tpe.group,
            constant_liar=tpe.constant_liar,
            n_ei_candidates=tpe.ei_candidates,
            seed=seed,
        )


def _gp(history: History, seed: int) -> optuna.samplers.BaseSampler:
    from ikd.sweep._samplers_gp import GpSampler

    gp = history.space.sampler.gp
    assert gp is not None
    return GpSampler(gp.startup_trials, priors_of(history.space), _random(history, seed), seed)
