"""A search space's domains as Optuna distributions, as plain lists, and as the unit interval."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ikd.config import Domain, SearchSpace


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


def contains(domain: Domain, value: Any) -> bool:
    """Tell whether a value lies in a domain, on its grid where it has one."""
    if not domain.contains(value):
        return False
    grid = domain.grid()
    return domain.choice is not None or grid is None or math.isclose(nearest(domain, value), value, rel_tol=1e-9)


def nearest(domain: Domain, value: float) -> Any:
    """Return the value of a quantised domain nearest to a number, by ratio where it is logarithmic."""
    grid = domain.grid()
    assert grid is not None, "a continuous domain has every value"
    if isinstance(grid, range):
        return grid[min(max(round((value - grid.start) / grid.step), 0), len(grid) - 1)]
    values = np.asarray(grid, dtype=np.float64)
    far = np.abs(np.log(values / value)) if domain.factor is not None else np.abs(values - value)
    return grid[int(np.argmin(far))]


def at(domain: Domain, unit: float) -> Any:
    """Return the value at a place of the unit interval, all equally likely (in the logarithm for log kinds).

    Args:
        domain: what is asked.
        unit: 0 to 1; each of n values of a grid has 1 / n of it.
    """
    grid = domain.grid()
    if grid is not None and not _wide(domain):
        return grid[min(int(unit * len(grid)), len(grid) - 1)]
    low, high = _edges(domain)
    if domain.uniform is not None:
        return min(max(low + unit * (high - low), low), high)
    value = math.exp(low + unit * (high - low))
    assert domain.bounds is not None
    return min(max(round(value) if _wide(domain) else value, domain.bounds[0]), domain.bounds[1])


def place(domain: Domain, value: Any) -> float:
    """Return the place of a value in the unit interval: the middle of its cell on a grid; the inverse of `at`."""
    grid = domain.grid()
    if grid is not None and not _wide(domain):
        index = domain.choice.index(value) if domain.choice is not None else grid.index(nearest(domain, value))
        return (index + 0.5) / len(grid)
    low, high = _edges(domain)
    number = value if domain.uniform is not None else math.log(value)
    return min(max((number - low) / (high - low), 0.0), 1.0)


def _wide(domain: Domain) -> bool:
    """Tell whether a domain is whole numbers even in the logarithm: a grid, but not an even one."""
    return domain.log_int is not None and domain.factor is None


def _edges(domain: Domain) -> tuple[float, float]:
    assert domain.bounds is not None
    low, high = domain.bounds
    if _wide(domain):  # every number has the half below and above it, as in Optuna
        return math.log(low - 0.5), math.log(high + 0.5)
    return (low, high) if domain.uniform is not None else (math.log(low), math.log(high))


def as_chosen(domain: Domain, value: Any) -> Any:
    """Return the choice that means `value`, else `value` in its shortest form: a stage of its own may be a name."""
    short = _short(value)
    return next((one for one in domain.choice or () if _short(one) == short), short)


def _short(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return value
    stages = [{k: v for k, v in one.items() if v} if isinstance(one, Mapping) else one for one in value]
    return [one["teacher"] if isinstance(one, Mapping) and set(one) == {"teacher"} else one for one in stages]
