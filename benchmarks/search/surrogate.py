"""A stand-in for training: from a trial's values to its learning curve, learnt from recorded trials.

A Gaussian process for each epoch over the values in the unit interval (logarithmic ranges in the logarithm, choices as
one place for each value, a switched-off parameter in the middle), and noise with the covariance over epochs that the
recorded repeats of one configuration with other seeds have. What the recorded trials do not show it does not know: it
is smoother than the truth, knows no diverging trials, and shrinks to the mean far away from them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.recording import Recording, Training, repeats
from benchmarks.search.worlds import World, even_draws, paper_of
from ikd.config import Domain, SearchSpace
from ikd.errors import BadInput
from ikd.sweep.records.domains import as_chosen, place

Array = NDArray[np.float64]
SWITCHED_OFF = 0.5
"""Where a numeric parameter lies that does not exist under its parents' values."""
DRAWS = 2000
"""Even draws that tell what a space holds."""
FAR_BEHIND = 0.1
"""Share of even draws below which a recorded student alone is of no use as what to be better than."""


@dataclass(frozen=True)
class Quality:
    """How well configurations that were left out are predicted; one figure an epoch.

    Attributes:
        r2: share of the variance that is explained; 0 is what the mean of the others gives.
        mae: mean absolute error (AP in 0..1).
        mean_mae: the same of the mean of the others.
        noise: standard deviation over seeds.
        configurations: that were left out, one after the other.
    """

    r2: Array
    mae: Array
    mean_mae: Array
    noise: Array
    configurations: int


def encode(space: SearchSpace, values: Mapping[str, Any]) -> Array:
    """Return the coordinates of a trial, (D,) in 0..1."""
    parts = [_coordinates(domain, values, name) for name, domain in space.parameters.items()]
    return np.array([number for part in parts for number in part])


def _coordinates(domain: Domain, values: Mapping[str, Any], name: str) -> list[float]:
    numeric = domain.choice is None or all(type(one) in (int, float) for one in domain.choice)
    if name not in values:
        return [SWITCHED_OFF] if numeric else [0.0] * len(domain.choice or ())
    if domain.choice is None:
        return [place(domain, values[name])]
    index = domain.choice.index(as_chosen(domain, values[name]))
    if numeric:
        return [index / max(1, len(domain.choice) - 1)]
    return [float(index == other) for other in range(len(domain.choice))]


def fitted(points: Array, curves: Array) -> Callable[[Array], Array]:
    """Fit one Gaussian process an epoch.

    Args:
        points: (N, D) in 0..1.
        curves: (N, E).

    Returns:
        From (M, D) to the (M, E) expected curves.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    mean, spread = curves.mean(0), np.maximum(curves.std(0), 1e-6)
    models = []
    for epoch in range(curves.shape[1]):
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(1.0, (0.3, 30.0), nu=2.5) + WhiteKernel(0.3, (0.02, 2.0))
        model = GaussianProcessRegressor(kernel, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a bound of the kernel is reached where noise prevails
            models.append(model.fit(points, (curves[:, epoch] - mean[epoch]) / spread[epoch]))
    return lambda asked: np.stack([model.predict(asked) for model in models], 1) * spread + mean


def noise_factor(trainings: Sequence[Training]) -> Array:
    """Return a matrix (E, K) that makes K independent standard normals noise with the recorded covariance.

    The covariance is pooled over the configurations that were trained with several seeds: deviations from each one's
    mean, over the degrees of freedom.

    Raises:
        BadInput: no configuration was trained with several seeds.
    """
    groups = [np.array([one.curve for one in group]) for group in repeats(trainings)]
    if not groups:
        raise BadInput("recording: needs a configuration trained with several seeds; add some with `search repeat`")
    deviations = np.concatenate([group - group.mean(0) for group in groups])
    return deviations.T / np.sqrt(len(deviations) - len(groups))


def surrogate(recording: Recording) -> World:
    """Return a recording as a world to search in.

    Its student alone is the recorded one, or the median of even draws where there is none or one far behind them all:
    to be better than that would be no test.
    """
    space = recording.searched()
    known = [one for one in recording.trainings if one.in_space]
    predict = fitted(np.array([encode(space, one.values) for one in known]), _curves(known))

    def curve(values: Mapping[str, Any]) -> Array:
        return np.asarray(np.clip(predict(encode(space, values)[None])[0], 0.0, 1.0))

    drawn = np.array([encode(space, values) for values in even_draws(space, DRAWS)])
    worth = np.clip(predict(drawn), 0.0, 1.0).max(1)
    recorded = [max(one.curve) for one in recording.trainings if one.values.get("distill.host") == "none"]
    level = next((one for one in recorded if one > np.quantile(worth, FAR_BEHIND)), float(np.median(worth)))
    paper = curve(paper_of(recording, space))
    return World(recording, paper.size, curve, noise_factor(recording.trainings), paper + level - paper.max())


def leave_one_out(recording: Recording) -> Quality:
    """Predict each configuration from all the others, its own repeats left out too."""
    space, known = recording.searched(), [one for one in recording.trainings if one.in_space]
    points, curves = np.array([encode(space, one.values) for one in known]), _curves(known)
    keys = [json.dumps(one.values, sort_keys=True) for one in known]
    predicted, mean = np.zeros_like(curves), np.zeros_like(curves)
    for key in set(keys):
        out = np.array([one == key for one in keys])
        predicted[out] = fitted(points[~out], curves[~out])(points[out])
        mean[out] = curves[~out].mean(0)
    left = ((curves - predicted) ** 2).sum(0) / ((curves - mean) ** 2).sum(0)
    noise = np.sqrt((noise_factor(recording.trainings) ** 2).sum(1))
    error, mean_error = (np.abs(curves - guess).mean(0) for guess in (predicted, mean))
    return Quality(1 - left, error, mean_error, noise, len(set(keys)))


def _curves(trainings: Sequence[Training]) -> Array:
    return np.array([one.curve for one in trainings])
