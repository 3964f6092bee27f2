"""The values of a trial as parameters that may be compared between all trials of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ikd.config import SearchSpace
from ikd.sweep.records.trials import TrialRecord

ABSENT = "none"
"""Stands for a parameter that a trial has not. MLflow draws what is left out above the largest value there is."""
LOG = " log10"
"""Ends the name of a parameter's logarithm: MLflow's axes are linear."""


def shown_params(space: SearchSpace, record: TrialRecord, seed: int) -> dict[str, object]:
    """Return the values of a trial by the dotted names of the recipe's fields: the same names for every trial.

    A parameter that is searched by its logarithm has a twin with that, as `distill.mgd.alpha log10`. One that does not
    exist in the trial reads `none`, so that it has no place on the axis of those that do.

    Args:
        space: resolved.
        record: the trial.
        seed: of the recipe, for trials that have none of their own.
    """
    values: Mapping[str, object] = {"seed": seed, **record.proposed}
    shown: dict[str, object] = {}
    for name in ("seed", *space.fields):
        shown[name] = values.get(name, ABSENT)
    for name, domain in space.parameters.items():
        if domain.log_uniform is not None or domain.log_int is not None:
            shown[name + LOG] = _logarithm(values.get(name))
            shown[name] = _in_order(shown[name])
    return shown


def further(space: SearchSpace, record: TrialRecord) -> dict[str, object]:
    """Return what else a trial sets in the recipe, as an anchor may: no parameter, as other trials have none of it."""
    return {name: value for name, value in record.proposed.items() if name not in space.fields and name != "seed"}


def _in_order(value: object) -> object:
    """Return a small number without an exponent: beside a `none` MLflow orders values by their characters."""
    if isinstance(value, float) and 0.0 < value < 1.0:
        return f"{value:.{3 - math.floor(math.log10(value))}f}"
    return value


def _logarithm(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
        return f"{math.log10(value):.2f}"
    return ABSENT
