"""The values of a search space's domains: which belong, which is nearest, and their places in the unit interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ikd.config import Domain


class Scale:
    """A domain with its values and edges worked out once, for whoever asks of many values.

    Args:
        domain: sequences listed as choices.

    Attributes:
        plain: no value can be written in two ways, as a sequence of teachers can; see `as_chosen`.
    """

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.plain = not any(isinstance(one, (list, tuple)) for one in domain.choice or ())
        self._grid = domain.grid()
        # whole numbers even in the logarithm are a grid, but not an even one
        self._wide = domain.log_int is not None and domain.factor is None
        even = self._grid is not None and not self._wide
        self._edges = (0.0, 1.0) if even else _edges(domain, wide=self._wide)
        self._even = self._grid if even else None
        own = self._grid if isinstance(self._grid, list) and domain.choice is None else ()
        self._places = {value: index for index, value in enumerate(own)}

    def contains(self, value: Any) -> bool:
        """Tell whether a value lies in the domain, on its grid where it has one."""
        if not self.domain.contains(value):
            return False
        if self.domain.choice is not None or self._grid is None or (self._places and value in self._places):
            return True
        return math.isclose(self.nearest(value), value, rel_tol=1e-9)

    def nearest(self, value: float) -> Any:
        """Return the value of a quantised domain nearest to a number, by ratio where it is logarithmic."""
        grid = self._grid
        assert grid is not None, "a continuous domain has every value"
        if isinstance(grid, range):
            return grid[min(max(round((value - grid.start) / grid.step), 0), len(grid) - 1)]
        values = np.asarray(grid, dtype=np.float64)
        far = np.abs(np.log(values / value)) if self.domain.factor is not None else np.abs(values - value)
        return grid[int(np.argmin(far))]

    def at(self, unit: float) -> Any:
        """Return the value at a place of the unit interval, all equally likely (in the logarithm for log kinds).

        Args:
            unit: 0 to 1; each of n values of a grid has 1 / n of it.
        """
        if self._even is not None:
            return self._even[min(int(unit * len(self._even)), len(self._even) - 1)]
        low, high = self._edges
        if self.domain.uniform is not None:
            return min(max(low + unit * (high - low), low), high)
        value = math.exp(low + unit * (high - low))
        assert self.domain.bounds is not None
        return min(max(round(value) if self._wide else value, self.domain.bounds[0]), self.domain.bounds[1])

    def place(self, value: Any) -> float:
        """Return the place of a value in the unit interval: the middle of its cell on a grid; the inverse of `at`."""
        if (grid := self._even) is not None:
            index = self._places.get(value) if self._places else None
            if index is None:
                index = grid.index(value if self.domain.choice is not None else self.nearest(value))
            return (index + 0.5) / len(grid)
        low, high = self._edges
        number = value if self.domain.uniform is not None else math.log(value)
        return float(min(max((number - low) / (high - low), 0.0), 1.0))


def contains(domain: Domain, value: Any) -> bool:
    """Tell whether a value lies in a domain, see `Scale`."""
    return domain.contains(value) and Scale(domain).contains(value)


def nearest(domain: Domain, value: float) -> Any:
    """Return the value of a quantised domain nearest to a number, see `Scale`."""
    return Scale(domain).nearest(value)


def at(domain: Domain, unit: float) -> Any:
    """Return the value at a place of the unit interval, see `Scale`."""
    return Scale(domain).at(unit)


def place(domain: Domain, value: Any) -> float:
    """Return the place of a value in the unit interval, see `Scale`."""
    return Scale(domain).place(value)


def _edges(domain: Domain, *, wide: bool) -> tuple[float, float]:
    assert domain.bounds is not None
    low, high = domain.bounds
    if wide:  # every number has the half below and above it, as in Optuna
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
