"""Proposals of Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import optuna
from optuna.trial import TrialState

from ikd.config import Tpe
from ikd.sweep.samplers.history import History, Values
from ikd.sweep.samplers.priors import picked, priors_of
from ikd.sweep.samplers.random import random_sampler
from ikd.sweep.samplers.views import asked, study_view

PRIOR_DRAWS = 8
"""Proposals of TPE among which a prior chooses."""


def tpe_values(history: History) -> Iterator[Values]:
    """Yield proposals of TPE; with priors, start-up draws follow them and later ones are picked by them."""
    sampler = history.space.sampler
    tpe = sampler.tpe or Tpe(startup_trials=sampler.effects.startup_trials if sampler.effects else 0)
    view, priors = study_view(history, "tpe"), priors_of(history.space)
    told = len(view.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED]))
    for attempt in itertools.count():
        seed = history.seed(attempt)
        if not priors:
            yield asked(history, view, _tpe(tpe, seed))
        elif told < tpe.startup_trials:
            yield asked(history, view, random_sampler(history, seed))
        else:
            candidates = [asked(history, view, _tpe(tpe, history.seed(attempt, draw))) for draw in range(PRIOR_DRAWS)]
            yield picked(candidates, priors, max(tpe.startup_trials, 1) / max(told, 1), seed)


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
