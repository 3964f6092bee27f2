"""A search space's domains and values as Optuna has them, and Optuna kept quiet."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ikd.config import Domain, SearchSpace
from ikd.sweep.records.domains import nearest


def distribution_of(domain: Domain) -> BaseDistribution:
    """Return the Optuna distribution of a domain.

    Optuna has no grid of factors: it gets the range between the outer edges of the grid's cells, and `nearest` takes
    what is drawn to the value whose cell it fell into, so that all are equally likely.
    """
    if domain.choice is not None:
        return CategoricalDistribution(labels(domain))
    assert domain.bounds is not None
    low, high = domain.bounds
    if domain.factor is not None:
        values, edge = domain.grid() or (), math.sqrt(domain.factor)
        return FloatDistribution(values[0] / edge, values[-1] * edge, log=True)
    if domain.log_int is not None:
        return IntDistribution(low, high, log=True)
    if domain.integer is not None:
        step = int(domain.step or 1)
        return IntDistribution(low, low + (high - low) // step * step, step=step)
    if domain.log_uniform is not None:
        return FloatDistribution(low, high, log=True)
    # Optuna wants the high end on the grid
    return FloatDistribution(low, high if domain.step is None else (domain.grid() or ())[-1], step=domain.step)


def label(value: Any) -> bool | int | float | str | None:
    """Return a choice as the study stores it: plain values as they are, lists and mappings as JSON."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value, sort_keys=True)


def labels(domain: Domain) -> list[bool | int | float | str | None]:
    """Return the choices of a domain as the study stores them: by their short names where they have any."""
    return list(domain.aliases or [label(value) for value in domain.choice or ()])


def stored(domain: Domain, value: Any) -> Any:
    """Return a value as the study stores it."""
    return value if domain.choice is None else labels(domain)[domain.choice.index(value)]


def meant(domain: Domain, stored_value: Any) -> Any:
    """Return the recipe's value for one that Optuna drew or the study stores."""
    if domain.choice is not None:
        return domain.choice[labels(domain).index(stored_value)]
    return nearest(domain, stored_value) if domain.step is not None or domain.factor is not None else stored_value


def point(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study's parameters for recipe values: choices are `label`ed, fields of no parameter left out."""
    return {name: stored(space.parameters[name], value) for name, value in values.items() if name in space.parameters}


def distributions(space: SearchSpace, names: Sequence[str]) -> dict[str, BaseDistribution]:
    """Return the distributions of some parameters."""
    return {name: distribution_of(space.parameters[name]) for name in names}


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing every study, without changing what a person's own script has set."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
