"""Which parameters decide on being among the best trials, by Optuna's PED-ANOVA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState, create_trial

from ikd.config import SearchSpace
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.study.distributions import distributions, point, quiet_optuna

LEAST_TRIALS = 10
"""Finished trials of the search from which on importance is told."""
RESAMPLES = 20
"""Bootstrap samples of the trials, for the interval."""
TOP = 0.25
"""Share of the trials that are the best ones."""


def ped_anova(space: SearchSpace, records: Sequence[TrialRecord]) -> dict[str, tuple[float, float, float]] | None:
    """Return the importance of each parameter, largest first: its share of all, and 90 % of it by the bootstrap.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023; with conditions, as Optuna has it) of being among the best quarter of
    the trials; parameters that do not always exist count where they exist.

    Returns:
        None with fewer than `LEAST_TRIALS` finished trials of the search, or none that varies.
    """
    trials = [_trial(space, one) for one in records if _counts(one)]
    if len(trials) < LEAST_TRIALS:
        return None
    shares = _shares(space, trials)
    if not shares:
        return None
    random = np.random.default_rng(space.seed)
    drawn = [[trials[index] for index in random.integers(len(trials), size=len(trials))] for _ in range(RESAMPLES)]
    again = [_shares(space, one) for one in drawn]
    found = {}
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        low, high = np.quantile([one.get(name, 0.0) for one in again], (0.05, 0.95))
        found[name] = (share, float(low), float(high))
    return found


def _counts(record: TrialRecord) -> bool:
    return record.role == "search" and record.in_space and record.state == "finished" and record.metric is not None


def _trial(space: SearchSpace, record: TrialRecord) -> FrozenTrial:
    params = point(space, space.active(record.proposed or record.values))
    varied = {name: value for name, value in params.items() if space.parameters[name].size > 1}
    return create_trial(
        state=TrialState.COMPLETE, value=record.metric, params=varied, distributions=distributions(space, list(varied))
    )


def _shares(space: SearchSpace, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # experimental; few trials of a kind, which the interval tells
        study = optuna.create_study(direction="maximize" if space.objective.mode == "max" else "minimize")
        study.add_trials(trials)
        return optuna.importance.get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=TOP)
        )
