"""What is believed of a configuration as plain values: for a card, a tracker, and whoever reads JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ikd.config import SearchSpace
from ikd.sweep.confirm.apart import Gain, gain_of
from ikd.sweep.confirm.standing import Configuration, Standing
from ikd.sweep.effects.told import POINTS
from ikd.sweep.records.trials import ANCHOR_NAMES, TrialRecord
from ikd.trial import TEST


def facts_of(space: SearchSpace, records: Sequence[TrialRecord], known: Standing, one: Configuration) -> dict[str, Any]:
    """Return what is believed of a configuration, in the units of the metric, as it is measured.

    Args:
        space: resolved.
        records: every trial.
        known: of them.
        one: one of its configurations.

    Returns:
        `configuration` (number of the search's trial), `chosen` (whether it is the choice, and `choice`, which is),
        `trainings` (numbers of those that took part in the choice), `training` (of these, that which is exported),
        `expected`, `interval` (90 %), `probability_best`, `configurations` (of how many), `gain` (see `gain_facts`),
        `best_seen` (`trial`, `value`, `luck`) and `apart` (`trials`, and the mean `value` and `test` of what nobody has
        chosen by).
    """
    numbers = {training.number for training in one.trainings}
    apart = [record for record in records if record.role == "apart" and record.of in numbers]
    return {
        "configuration": one.number,
        "chosen": one.number == known.chosen.number,
        "choice": known.chosen.number,
        "trainings": [training.number for training in one.trainings],
        "training": known.training_of(one).number,
        "expected": measured(space, one.mean),
        "interval": sorted(measured(space, value) for value in one.interval),
        "probability_best": known.chances[one.number],
        "configurations": len(known.configurations),
        "gain": gain_facts(space, records, known) if one.number == known.chosen.number else None,
        "best_seen": {
            "trial": known.seen.number,
            "value": measured(space, known.value(known.seen)),
            "luck": max(0.0, known.luck / POINTS),
        },
        "apart": {
            "trials": [record.number for record in apart if record.state == "finished"],
            "value": _mean([record.metric for record in apart if record.state == "finished"]),
            "test": _mean([_tested(record, space.objective.metric) for record in apart]),
        },
    }


def gain_facts(space: SearchSpace, records: Sequence[TrialRecord], known: Standing) -> dict[str, Any] | None:
    """Return what the chosen configuration brings, positive for better; None where that is not confirmed."""
    gain = gain_of(space, records, known)
    return None if gain is None else plain_gain(gain)


def plain_gain(gain: Gain) -> dict[str, Any]:
    """Return a gain in the units of the metric, positive for better."""
    return {
        "over": " = ".join(ANCHOR_NAMES[name] for name in gain.anchor.anchors),
        "anchor": gain.anchor.number,
        "difference": gain.difference / POINTS,
        "interval": [value / POINTS for value in gain.interval],
        "probability": gain.probability,
        "trainings": [gain.chosen_trainings, gain.anchor_trainings],
    }


def measured(space: SearchSpace, value: float) -> float:
    """Return an objective in points, the larger the better, in the units of the metric as it is measured."""
    return (value if space.objective.mode == "max" else -value) / POINTS


def _tested(record: TrialRecord, metric: str) -> float | None:
    """Return a metric on the test part, as reported last; None where there is none."""
    values = [one.metrics[TEST + metric] for one in record.reports if TEST + metric in one.metrics]
    return values[-1] if values else None


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None
