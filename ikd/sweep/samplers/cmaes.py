"""Covariance matrix adaptation, replayed from the records."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from cmaes import CMA

from ikd.sweep.records.domains import at, place
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.samplers.history import History, Values
from ikd.trial import OPEN


def cmaes_values(history: History) -> Iterator[Values]:
    """Yield draws from the distribution that the recorded generations lead to (Hansen 2016); none at the start.

    The state of CMA-ES follows from its generations alone, so it is computed anew instead of being kept: the sampled
    points of the space in order of number, `startup_trials` of them left out, are dealt into generations of
    `population`. A generation counts when all of its trials have ended; while one is open, the distribution before it
    is drawn from, so trials side by side may come from the generation before. Ranked within a generation are finished
    trials by their objective, then stopped ones by rung and value there, then diverged ones; lost trials are in none.

    It starts at the best of what is known besides: start-up trials, anchors inside the space, earlier sweeps; else at
    the recipe's own values, or where a prior expects better ones, brought into their ranges.
    """
    settings = history.space.sampler.cmaes
    assert settings is not None
    names = [name for name in history.space.ordered() if history.space.parameters[name].size > 1]
    sampled = [one for one in history.records if one.in_space and not one.anchors and one.state != "failed"]
    if not names or len(sampled) < settings.startup_trials:
        return
    population = settings.population or 4 + math.floor(3 * math.log(len(names)))
    best = _start(history, names, sampled[settings.startup_trials :])
    cma = CMA(best, settings.sigma, np.array([[0.0, 1.0]] * len(names)), population_size=population)
    for generation in _generations(sampled[settings.startup_trials :], population):
        order = sorted(generation, key=lambda record: _loss(history, record))
        cma.tell([(_place(history, names, record), float(rank)) for rank, record in enumerate(order)])
    cma.reseed_rng(history.seed(0))
    fixed = {name: domain.ends[0] for name, domain in history.space.parameters.items() if name not in names}
    while True:
        drawn = zip(names, cma.ask(), strict=True)
        yield fixed | {name: at(history.space.parameters[name], float(unit)) for name, unit in drawn}


def _generations(sampled: list[TrialRecord], population: int) -> Iterator[list[TrialRecord]]:
    for first in range(0, len(sampled) - population + 1, population):
        generation = sampled[first : first + population]
        if any(record.state in OPEN for record in generation):
            return
        yield generation


def _start(history: History, names: list[str], later: list[TrialRecord]) -> npt.NDArray[np.float64]:
    dealt = {record.number for record in later}
    own = [record for record in history.records if record.number not in dealt]
    outside = [one for one in (*history.earlier, *own) if one.in_space and one.state not in ("failed", *OPEN)]
    if outside:
        return _place(history, names, min(outside, key=lambda record: _loss(history, record)))
    return np.array([_expected(history, name) for name in names])


def _expected(history: History, name: str) -> float:
    domain = history.space.parameters[name]
    assert domain.bounds is not None, "CMA-ES searches numbers"
    value = history.recipe.value(name) if domain.prior is None else domain.prior.around
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return place(domain, min(max(value, domain.bounds[0]), domain.bounds[1])) if known else 0.5


def _place(history: History, names: list[str], record: TrialRecord) -> npt.NDArray[np.float64]:
    return np.array([place(history.space.parameters[name], record.values[name]) for name in names])


def _loss(history: History, record: TrialRecord) -> tuple[float, float]:
    losses = history.losses(record)
    return history.shortfall(record), losses[0] if losses is not None else 0.0
