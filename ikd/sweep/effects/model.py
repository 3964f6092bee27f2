"""Main effects, a product kernel for what they leave, and noise: a Gaussian process whose weights come from a list.

    k(i, j) = s2 [1 + a F_i.F_j / mean(F.F) + b Matern52(|e_i - e_j| / 0.6)], and c s2 of noise

with s2 the variance of the told values, F the columns of the effects and e the places (`Coordinates`). The weights
a, b, c are those of twelve that the values speak most for: no optimiser, no local optima, the same on every machine to
rounding.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.spatial.distance import cdist

from ikd.sweep.effects.coordinates import Coordinates, Matrix

Vector = NDArray[np.float64]
EFFECTS = (0.25, 0.7)
"""a: variance of the main effects, as a share of that of the values."""
REST = (0.15, 0.5)
"""b: variance of what they do not explain."""
NOISE = (0.12, 0.25, 0.5)
"""c: variance between trainings of one configuration."""
LENGTH = 0.6
"""Length scale of the product kernel."""
LEAST_VARIANCE = 1e-6
"""Added to the variance of the values, which may all be equal."""


@dataclass(frozen=True)
class Told:
    """Results that the model learns from.

    Attributes:
        points: [N] configurations; one that was trained more than once comes as often.
        values: [N] the larger the better.
        least: [N] variance that a value has at least, noise included: of one that was predicted from a stopped trial.
        extra: [N] variance besides: of one from another sweep, whose effects may be others.
    """

    points: Coordinates
    values: Vector
    least: Vector
    extra: Vector

    @classmethod
    def plain(cls, points: Coordinates, values: Vector) -> Told:
        """Return results that have the noise of a training and nothing else."""
        return cls(points, values, np.zeros(len(values)), np.zeros(len(values)))

    def with_more(self, points: Coordinates, values: Vector) -> Told:
        """Return these results and plain ones."""
        effects = np.concatenate([self.points.effects, points.effects])
        places = np.concatenate([self.points.places, points.places])
        least, extra = (np.concatenate([one, np.zeros(len(values))]) for one in (self.least, self.extra))
        return Told(Coordinates(effects, places), np.concatenate([self.values, values]), least, extra)


class Effects:
    """The model of some results.

    Attributes:
        weights: the (a, b, c) that were taken.
        noise: c s2, variance between trainings of one configuration, in squared units of the values.
    """

    def __init__(self, told: Told) -> None:
        """Take the weights whose marginal likelihood is largest.

        Args:
            told: at least one result.
        """
        self._points = told.points
        self._mean = float(told.values.mean())
        self._scale = float(told.values.var()) + LEAST_VARIANCE
        self._trace = float((told.points.effects**2).sum(1).mean()) or 1.0
        centred = told.values - self._mean
        main, rest = self._parts(told.points)
        best = -math.inf
        for a, b, c in itertools.product(EFFECTS, REST, NOISE):
            noise = np.maximum(c * self._scale, told.least) + told.extra
            factor = np.linalg.cholesky(self._scale * (1 + a * main + b * rest) + np.diag(noise))
            solved = cho_solve((factor, True), centred, check_finite=False)
            likelihood = -0.5 * float(centred @ solved) - float(np.log(np.diag(factor)).sum())
            if likelihood > best:
                best, self.weights, self.noise = likelihood, (a, b, c), c * self._scale
                self._factor, self._solved = factor, solved

    def posterior(self, points: Coordinates) -> tuple[Vector, Vector]:
        """Return mean and variance [M] of the noise-free objective of some configurations."""
        a, b, _ = self.weights
        main, rest = self._parts(points)
        across = self._scale * (1 + a * main + b * rest)  # [M, N]
        own = self._scale * (1 + a * (points.effects**2).sum(1) / self._trace + b)
        explained = solve_triangular(self._factor, across.T, lower=True, check_finite=False)
        return self._mean + across @ self._solved, np.maximum(own - (explained**2).sum(0), 0.0)

    def joint(self, points: Coordinates) -> tuple[Vector, Matrix]:
        """Return mean [M] and covariance [M, M] of the noise-free objective of some configurations."""
        a, b, _ = self.weights
        main, rest = self._parts(points)
        across = self._scale * (1 + a * main + b * rest)  # [M, N]
        own = self._scale * (1 + a * points.effects @ points.effects.T / self._trace + b * _matern(points, points))
        explained = solve_triangular(self._factor, across.T, lower=True, check_finite=False)
        return self._mean + across @ self._solved, own - explained.T @ explained

    def _parts(self, points: Coordinates) -> tuple[Matrix, Matrix]:
        """Return the main effects' and the product kernel's correlation [M, N] with the told results."""
        main = points.effects @ self._points.effects.T / self._trace
        return main, _matern(points, self._points)


def _matern(one: Coordinates, other: Coordinates) -> Matrix:
    """Return Matern52(|e_i - e_j| / 0.6) [M, N]."""
    far = math.sqrt(5) * cdist(one.places, other.places) / LENGTH
    return (1 + far + far**2 / 3) * np.exp(-far)
