"""What is known of a configuration after some trainings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ikd.config import SearchSpace
from ikd.errors import ConfigError, Problem
from ikd.sweep.effects.coordinates import Coordinates
from ikd.sweep.effects.model import Effects, Told, Vector


def posterior(
    space: SearchSpace, told: Sequence[tuple[Mapping[str, Any], float]], at: Sequence[Mapping[str, Any]]
) -> tuple[Vector, Vector, float]:
    """Return what the effects model says of some configurations.

    Args:
        space: whose parameters vary; their sequences listed as choices, as `SearchSpace.checked` has them.
        told: values by dotted name, and the objective that a training of them had, in its own units, the larger the
            better; a configuration trained n times comes n times. At least one.
        at: configurations that are asked for.

    Returns:
        Means [M] and standard deviations [M] of the objective without the noise of a training, in the order of `at`;
        variance of that noise.

    Raises:
        ConfigError: nothing was told, an objective is not finite, a parameter has no value or one outside its domain.
    """
    if not told:
        raise ConfigError([Problem("posterior", "told", [], "must hold at least one training")])
    for index, (_, value) in enumerate(told):
        if not math.isfinite(value):
            raise ConfigError([Problem("posterior", f"told[{index}]", value, "must have a finite objective")])
    values = np.array([value for _, value in told], dtype=np.float64)
    model = Effects(Told.plain(Coordinates.of(space, [point for point, _ in told]), values))
    means, variances = model.posterior(Coordinates.of(space, at))
    return means, np.sqrt(variances), model.noise
