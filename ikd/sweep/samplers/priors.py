"""Where good values are expected: draws around there, weighed less and less as trials tell more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy.special import ndtr, ndtri

from ikd.config import Domain, SearchSpace
from ikd.sweep.records.domains import at, place
from ikd.sweep.study.distributions import stored


@dataclass(frozen=True)
class UnitPrior:
    """The prior of one domain, as a distribution of places in the unit interval (see `_domains.place`).

    Of a range: a normal around the place of `around`, its standard deviation `spread`, cut at both ends. Of n choices:
    probability 1 - spread + spread / n for the expected one, spread / n for each other.
    """

    domain: Domain

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Probability of each choice."""
        assert self.domain.choice is not None
        assert self.domain.prior is not None
        spread, around = self.domain.prior.spread, self.domain.prior.around
        expected = np.array([one == around for one in self.domain.choice], dtype=np.float64)
        if not expected.any():
            return np.full(len(expected), 1 / len(expected))
        return (1 - spread) * expected + spread / len(expected)

    @property
    def centre(self) -> tuple[float, float]:
        """Mean and standard deviation of the place in a range, before the ends are cut."""
        assert self.domain.prior is not None
        assert self.domain.bounds is not None
        low, high = self.domain.bounds
        around = self.domain.prior.around
        known = isinstance(around, (int, float)) and not isinstance(around, bool)
        return place(self.domain, min(max(around, low), high)) if known else 0.5, self.domain.prior.spread

    @property
    def _cut(self) -> tuple[float, float]:
        """Probability below the lower and below the upper end of a range, before they are cut."""
        mean, spread = self.centre
        return float(ndtr(-mean / spread)), float(ndtr((1 - mean) / spread))

    def quantile(self, probability: float) -> float:
        """Return the place below which a share `probability` (0..1) of the prior lies."""
        if self.domain.choice is not None:
            shares = self.shares
            index = int(np.searchsorted(np.cumsum(shares), probability, side="right"))
            return (min(index, len(shares) - 1) + 0.5) / len(shares)
        (mean, spread), (low, high) = self.centre, self._cut
        return float(min(max(mean + spread * ndtri(low + probability * (high - low)), 0.0), 1.0))

    def log_density(self, value: Any) -> float:
        """Return the logarithm of the prior's density at a value; 0 where it is as high as that of even draws."""
        if self.domain.choice is not None:
            return float(np.log(self.shares[self.domain.choice.index(value)] * len(self.domain.choice)))
        (mean, spread), (low, high) = self.centre, self._cut
        far = (place(self.domain, value) - mean) / spread
        return float(-0.5 * far**2 - math.log(spread * math.sqrt(2 * math.pi)) - math.log(high - low))


def priors_of(space: SearchSpace) -> dict[str, UnitPrior]:
    """Return the priors of a resolved space by parameter."""
    return {name: UnitPrior(domain) for name, domain in space.parameters.items() if domain.prior is not None}


class PriorSampler(RandomSampler):
    """Optuna's random sampler, with the parameters that have a prior drawn from it."""

    def __init__(self, seed: int, priors: Mapping[str, UnitPrior]) -> None:
        super().__init__(seed)
        self._priors, self._random = priors, np.random.default_rng(seed)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one parameter."""
        prior = self._priors.get(param_name)
        if prior is None:
            return super().sample_independent(study, trial, param_name, param_distribution)
        return stored(prior.domain, at(prior.domain, prior.quantile(self._random.random())))


def picked(
    candidates: Sequence[dict[str, Any]], priors: Mapping[str, UnitPrior], exponent: float, seed: int
) -> dict[str, Any]:
    """Return one of a model's proposals, drawn with probability proportional to prior^exponent.

    This is the decay of piBO (Hvarfner et al. 2022, equation 6) with the proposals of the model for its acquisition.
    """
    logs = [sum(prior.log_density(one[name]) for name, prior in priors.items() if name in one) for one in candidates]
    weights = np.exp(exponent * (np.array(logs) - max(logs)))
    return candidates[np.random.default_rng(seed).choice(len(candidates), p=weights / weights.sum())]
