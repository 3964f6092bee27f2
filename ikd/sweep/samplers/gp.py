"""Optuna's Gaussian process with the space's priors in its acquisition function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from optuna._gp.acqf import BaseAcquisitionFunc
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ikd.sweep.samplers.history import History, Values
from ikd.sweep.samplers.priors import UnitPrior, priors_of
from ikd.sweep.samplers.random import random_sampler
from ikd.sweep.samplers.views import proposals, study_view

if TYPE_CHECKING:
    import torch


def gp_values(history: History) -> Iterator[Values]:
    """Yield proposals of a Gaussian process."""
    gp = history.space.sampler.gp
    assert gp is not None
    startup, priors = gp.startup_trials, priors_of(history.space)

    def make(seed: int) -> BaseSampler:
        return GpSampler(startup, priors, random_sampler(history, seed), seed)

    yield from proposals(history, study_view(history, "gp"), make)


class PriorAcquisition(BaseAcquisitionFunc):
    """The logarithm of an acquisition function times prior^exponent (piBO, Hvarfner et al. 2022, equation 6).

    Args:
        acquisition: in the logarithm, as all of Optuna's are.
        priors: by column of the points; places of ranges, indices of choices.
        exponent: the weight of the priors.
    """

    def __init__(self, acquisition: BaseAcquisitionFunc, priors: Mapping[int, UnitPrior], exponent: float) -> None:
        super().__init__(acquisition.length_scales, acquisition.search_space)
        self._acquisition, self._priors, self._exponent = acquisition, priors, exponent

    def eval_acqf(self, x: torch.Tensor) -> torch.Tensor:
        """Return [...] for points [..., D]."""
        found = self._acquisition.eval_acqf(x)
        for column, prior in self._priors.items():
            found = found + self._exponent * _log_prior(prior, x[..., column])
        return found


def _log_prior(prior: UnitPrior, column: torch.Tensor) -> torch.Tensor:
    if prior.domain.choice is None:
        mean, spread = prior.centre
        return -0.5 * ((column - mean) / spread) ** 2
    shares = np.log(np.maximum(prior.shares, np.finfo(np.float64).tiny))
    return sum((float(share) * (column == index) for index, share in enumerate(shares)), start=0.0 * column)


class GpSampler(GPSampler):
    """Optuna's GPSampler, weighing priors with the exponent startup_trials / trials told.

    Args:
        startup: random trials before the model proposes.
        priors: by parameter.
        beside: draws start-up trials and parameters under conditions.
        seed: of everything else.
    """

    def __init__(self, startup: int, priors: Mapping[str, UnitPrior], beside: BaseSampler, seed: int) -> None:
        super().__init__(
            seed=seed, n_startup_trials=startup, independent_sampler=beside, warn_independent_sampling=False
        )
        self._startup, self._priors = startup, priors
        self._columns: Mapping[int, UnitPrior] = {}
        self._exponent = 0.0

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the model's proposal for what every trial has; empty before the model proposes."""
        told = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        self._exponent = self._startup / max(len(told), 1)
        names = enumerate(search_space)
        self._columns = {column: self._priors[name] for column, name in names if name in self._priors}
        return super().sample_relative(study, trial, search_space)

    def _optimize_acqf(
        self, acqf: BaseAcquisitionFunc, best_params: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float64]:  # Optuna says that this is the place to change how it searches
        weighed = PriorAcquisition(acqf, self._columns, self._exponent) if self._columns else acqf
        return super()._optimize_acqf(weighed, best_params)
