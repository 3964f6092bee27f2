"""What trainings say that neither sampler nor choice have seen: how much better the chosen one is than an anchor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtr, stdtrit

from ikd.config import RIVALS, SearchSpace
from ikd.sweep.confirm.standing import PRIOR_TRAININGS, WITHIN, Configuration, Standing
from ikd.sweep.effects.model import Vector
from ikd.sweep.effects.told import objective
from ikd.sweep.records.trials import TrialRecord

LEAST = 2
"""Trainings of each side from which on anything is said of the gain."""
CONFIDENCE = 0.9
"""Of the interval."""


@dataclass(frozen=True)
class Gain:
    """How much better the chosen configuration is than an anchor, by trainings kept apart.

    Attributes:
        anchor: trial of the anchor.
        chosen_trainings: of the chosen configuration.
        anchor_trainings: of the anchor.
        difference: of the means, in points of the objective, positive for better.
        interval: where the true one lies with a probability of 90 %.
        probability: that it is above 0.
        confirmed: by trainings kept apart; else by those that took part in the choice, which `believed_gain` says.
    """

    anchor: TrialRecord
    chosen_trainings: int
    anchor_trainings: int
    difference: float
    interval: tuple[float, float]
    probability: float
    confirmed: bool = True


def gain_of(space: SearchSpace, records: Sequence[TrialRecord], standing: Standing) -> Gain | None:
    """Return what the chosen configuration brings, None with fewer than two trainings kept apart of it or the anchor.

    With s^2 = (4 c s2 + SS_chosen + SS_anchor) / (4 + n - 1 + m - 1) the difference of the means has a Student
    distribution of 4 + n + m - 2 degrees of freedom around the true one, scaled by s sqrt(1/n + 1/m).

    Args:
        space: resolved.
        records: every trial.
        standing: of them.
    """
    anchor = anchor_apart(records, standing.chosen)
    return None if anchor is None else _confirmed(space, records, standing, anchor)


def gains_of(space: SearchSpace, records: Sequence[TrialRecord], standing: Standing) -> list[Gain]:
    """Return what the chosen configuration brings over every anchor that finished, in the order of their trials.

    By trainings kept apart where there are two of it and of the anchor, else by what is believed (`believed_gain`).
    The chosen configuration itself is left out, which may be an anchor.

    Args:
        space: resolved.
        records: every trial.
        standing: of them.
    """
    found = []
    for one in records:
        if not one.anchors or one.state != "finished" or not math.isfinite(objective(space, one)):
            continue
        if standing.of(one) is not standing.chosen:
            gain = _confirmed(space, records, standing, one)
            found.append(gain if gain is not None else believed_gain(space, standing, one))
    return found


def believed_gain(space: SearchSpace, standing: Standing, anchor: TrialRecord) -> Gain:
    """Return the gain over an anchor by all trainings, those that took part in the choice.

    A normal distribution: the difference of what is expected of both. Of an anchor outside the space nothing is known
    but its one training, with the variance of a training. Nothing is taken off for what the model knows of both
    together, so that the interval is rather too wide.

    Args:
        space: resolved.
        standing: of the sweep.
        anchor: a finished trial.
    """
    chosen, own = standing.chosen, standing.of(anchor)
    mean, variance = (objective(space, anchor), standing.pooled) if own is None else (own.mean, own.variance)
    trainings = len(chosen.trainings), len(own.trainings) if own is not None else 1
    belief = _normal(chosen.mean - mean, chosen.variance + variance)
    return Gain(anchor, trainings[0], trainings[1], *belief, confirmed=False)


def _confirmed(
    space: SearchSpace, records: Sequence[TrialRecord], standing: Standing, anchor: TrialRecord
) -> Gain | None:
    own = objectives_apart(space, records, standing.chosen)
    others = _objectives(space, [one for one in records if one.of == anchor.number])
    if min(len(own), len(others)) < LEAST:
        return None
    return Gain(anchor, len(own), len(others), *_student(own, others, standing.noise))


def _student(own: Vector, others: Vector, noise: float) -> tuple[float, tuple[float, float], float]:
    """Return the difference of two means, its interval and the probability that it is above 0; see `gain_of`."""
    freedom = PRIOR_TRAININGS + len(own) - 1 + len(others) - 1
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in (own, others))
    variance = (PRIOR_TRAININGS * noise + squares) / freedom
    scale = math.sqrt(variance * (1 / len(own) + 1 / len(others)))
    difference = float(own.mean() - others.mean())
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * scale
    return difference, (difference - half, difference + half), float(stdtr(freedom, difference / scale))


def gain_between(one: tuple[Sequence[TrialRecord], Standing], other: tuple[Sequence[TrialRecord], Standing]) -> Gain:
    """Return how much better what one sweep has chosen is than what another one has, both of one metric.

    By trainings kept apart where each has two, with the larger noise of both; else by what is believed of each.

    Args:
        one: every trial of a sweep, and its standing.
        other: of the sweep that takes the place of the anchor.
    """
    (records, known), (their_records, theirs) = one, other
    own = objectives_apart(known.space, records, known.chosen)
    others = objectives_apart(theirs.space, their_records, theirs.chosen)
    anchor = theirs.chosen.trainings[0]
    if min(len(own), len(others)) >= LEAST:
        return Gain(anchor, len(own), len(others), *_student(own, others, max(known.noise, theirs.noise)))
    trainings = len(known.chosen.trainings), len(theirs.chosen.trainings)
    belief = _normal(known.chosen.mean - theirs.chosen.mean, known.chosen.variance + theirs.chosen.variance)
    return Gain(anchor, trainings[0], trainings[1], *belief, confirmed=False)


def _normal(difference: float, variance: float) -> tuple[float, tuple[float, float], float]:
    """Return a difference, its interval and the probability that it is above 0, by a normal distribution."""
    scale = math.sqrt(variance)
    probability = float(ndtr(difference / scale)) if scale else float(difference > 0)
    return difference, (difference - WITHIN * scale, difference + WITHIN * scale), probability


def objectives_apart(space: SearchSpace, records: Sequence[TrialRecord], one: Configuration) -> Vector:
    """Return the objectives [N] in points of a configuration's trainings kept apart."""
    numbers = {training.number for training in one.trainings}
    return _objectives(space, [record for record in records if record.of in numbers])


def anchor_apart(records: Sequence[TrialRecord], chosen: Configuration) -> TrialRecord | None:
    """Return the anchor of which trainings were kept apart, the latest; None where there is none."""
    firsts = [records[one.of] for one in records if one.role == "apart" and one.of is not None]
    rivals = [one for one in firsts if set(one.anchors) & set(RIVALS) and one.number != chosen.number]
    return rivals[-1] if rivals else None


def strongest_anchor(space: SearchSpace, records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the anchor with the best objective of those that a search has to beat; None where none has finished."""
    rivals = [one for one in records if set(one.anchors) & set(RIVALS) and one.state == "finished"]
    rivals = [one for one in rivals if math.isfinite(objective(space, one))]
    return max(rivals, key=lambda one: (objective(space, one), -one.number), default=None)


def _objectives(space: SearchSpace, records: Sequence[TrialRecord]) -> Vector:
    values = [objective(space, one) for one in records if one.role == "apart" and one.state == "finished"]
    return np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
