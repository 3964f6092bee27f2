"""The values of a search space's domains: which belong, which is nearest, and their places in the unit interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ikd.config import Domain


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
