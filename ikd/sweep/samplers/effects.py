"""Thompson sampling on the effects model, in turn with TPE."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ikd.sweep.effects.coordinates import Axes
from ikd.sweep.effects.model import Effects, Told
from ikd.sweep.effects.told import told_by
from ikd.sweep.records.trials import TrialRecord
from ikd.sweep.samplers.history import History, Values
from ikd.sweep.samplers.priors import UnitPrior, priors_of
from ikd.sweep.samplers.random import random_values
from ikd.sweep.samplers.tpe import tpe_values
from ikd.trial import OPEN

EVEN_DRAWS = 60
"""Candidates drawn from the whole space, or from its priors."""
WARM_STARTUP = 3
"""Random trials, at most, where other sweeps' trials teach the model."""
NEIGHBOURS = 60
"""Candidates drawn around the best."""
AROUND = 5
"""How many of the best have neighbours."""
CHANGED = 1.7
"""Parameters of a neighbour that are drawn anew, on average."""
STEPS = (0.15, 0.35)
"""Standard deviations, in shares of the range, by which numbers of a neighbour move, in turn."""


def effects_values(history: History) -> Iterator[Values]:
    """Yield random draws at the start, then in turn draws of TPE (odd trials) and of the effects model (even ones).

    Each draw of the model takes, of candidates all over the space and around the best known ones, that whose objective,
    drawn from the posterior of each, is largest (Thompson 1933). Trials that still run count with the model's mean, so
    that those side by side differ. Trials of other sweeps teach the model too, also those that lack parameters, and
    shorten the start.
    """
    settings = history.space.sampler.effects
    assert settings is not None
    theirs = {id(one) for one in history.earlier}
    own = [one for one in history.ended if id(one) not in theirs]
    axes, epochs = Axes(history.space), history.recipe.total_epochs
    told = told_by(history.space, [*own, *history.repeats], epochs, history.earlier, axes)
    startup = min(settings.startup_trials, WARM_STARTUP) if history.earlier else settings.startup_trials
    if history.number < startup or told is None:
        yield from random_values(history)
    elif settings.with_tpe and history.number % 2:
        yield from tpe_values(history)
    else:
        yield from _drawn(history, told, axes)


def _drawn(history: History, told: Told, axes: Axes) -> Iterator[Values]:
    model = Effects(told)
    running = [record.values for record in history.known if record.state in OPEN]
    if running:
        points = axes.coordinates(running)
        model = Effects(told.with_more(points, model.posterior(points)[0]))
    best, priors = _best(history, model, axes), priors_of(history.space)
    for attempt in itertools.count():
        random = np.random.default_rng(history.seed(attempt))
        candidates = [_even(axes, priors, random) for _ in range(EVEN_DRAWS)]
        for index in range(NEIGHBOURS):
            candidates.append(_neighbour(axes, best[index % len(best)].values, STEPS[index % len(STEPS)], random))
        means, variances = model.posterior(axes.coordinates(candidates))
        yield candidates[int(np.argmax(means + np.sqrt(variances) * random.standard_normal(len(candidates))))]


def _best(history: History, model: Effects, axes: Axes) -> Sequence[TrialRecord]:
    """Return the finished trials of the largest posterior means, the best first."""
    lacking = [one for one in history.earlier if not one.in_space]
    finished = [one for one in (*history.ended, *lacking) if one.state == "finished"]
    points = axes.coordinates([one.values for one in finished], lacking=bool(lacking))
    means, _ = model.posterior(points)
    return [finished[index] for index in np.argsort(-means, kind="stable")[:AROUND]]


def _even(axes: Axes, priors: Mapping[str, UnitPrior], random: np.random.Generator) -> Values:
    units = dict(zip(axes.scales, random.random(len(axes.scales)), strict=True))
    units = {name: priors[name].quantile(unit) if name in priors else float(unit) for name, unit in units.items()}
    return axes.active({name: axes.scales[name].at(unit) for name, unit in units.items()})


def _neighbour(axes: Axes, of: Mapping[str, Any], step: float, random: np.random.Generator) -> Values:
    """Return values near some others; what comes into existence by the change is drawn from the whole range."""
    values: Values = {}
    count = len(axes.scales)
    for name in axes.order:
        scale = axes.scales[name]
        unit, changes, moves = random.random(), random.random() < CHANGED / count, random.standard_normal()
        if not axes.exists[name](values):
            continue
        if name in of and not changes:
            values[name] = of[name]
        elif name in of and scale.domain.choice is None:
            values[name] = scale.at(float(min(max(scale.place(of[name]) + step * moves, 0.0), 1.0)))
        else:
            values[name] = scale.at(float(unit))
    return values
