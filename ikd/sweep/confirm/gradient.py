"""The knowledge gradient: whose next training is expected to improve the choice most."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx

from ikd.sweep.effects.model import Vector

FAR = -1e4
"""Below this the expectation is taken by its limit, phi(z) / z^2."""


def knowledge_gradient(means: Vector, variances: Vector, noise: float) -> Vector:
    """Return the logarithm of what one more training of each is expected to add to the largest mean.

    s f(-|mu - best other| / s) with s = v / sqrt(v + noise), f(z) = z Phi(z) + phi(z) (Frazier, Powell and Dayanik
    2008).

    Args:
        means: [N] of what is believed.
        variances: [N] above 0.
        noise: variance of a training.
    """
    if len(means) < 2:  # nothing can change
        return np.zeros(len(means))
    order = np.argsort(-means, kind="stable")
    others = np.full(len(means), means[order[0]])
    others[order[0]] = means[order[1]]
    scales = variances / np.sqrt(variances + noise)
    return np.log(scales) + np.array([_expected(z) for z in -np.abs(means - others) / scales])


def _expected(z: float) -> float:
    """Return log(z Phi(z) + phi(z)) for z <= 0, without cancellation far out."""
    density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    if z < FAR:
        return density - 2 * math.log(-z)
    return density + math.log1p(z * math.sqrt(math.pi / 2) * float(erfcx(-z / math.sqrt(2))))
