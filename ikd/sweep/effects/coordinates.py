"""Values of a search space as the numbers that the effects model sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ikd.config import Domain, SearchSpace
from ikd.errors import ConfigError, Problem
from ikd.sweep.records.domains import as_chosen, contains, place

Matrix = NDArray[np.float64]
MIDDLE = 0.5
"""The place of a number that does not exist."""


@dataclass(frozen=True)
class Coordinates:
    """Rows of N configurations.

    Attributes:
        effects: [N, P] columns of the main effects: an indicator for each choice; for a number at place u of the unit
            interval 2 (u - 1/2) and 8 (u - 1/2)^2 - 0.67, whose means over even draws are 0. All 0 where the
            parameter does not exist.
        places: [N, Q] a point for the distance between configurations: half an indicator for each choice, the place of
            a number, 1/2 where it does not exist.
    """

    effects: Matrix
    places: Matrix

    @classmethod
    def of(cls, space: SearchSpace, points: Sequence[Mapping[str, Any]], *, lacking: bool = False) -> Coordinates:
        """Return the rows of some configurations.

        Args:
            space: whose parameters count, their sequences listed as choices (`SearchSpace.checked`).
            points: values by dotted name. Other names are left out, as are parameters that do not exist under the
                values of their parents.
            lacking: parameters may have no value though they exist; they stand where one does not exist.

        Raises:
            ConfigError: a parameter that exists has no value, or one outside its domain.
        """
        order = space.ordered()  # once for all of them: a proposal asks for hundreds
        rows = [_row(space, order, values, lacking) for values in points]
        effects, places = ([row[half] for row in rows] for half in (0, 1))
        return cls(*(np.array(half, dtype=np.float64).reshape(len(rows), -1) for half in (effects, places)))


def _row(
    space: SearchSpace, order: Sequence[str], values: Mapping[str, Any], lacking: bool
) -> tuple[list[float], list[float]]:
    effects: list[float] = []
    places: list[float] = []
    kept: dict[str, Any] = {}
    for name in order:
        if space.is_active(name, kept) and not (lacking and name not in values):
            kept[name] = _known(name, space.parameters[name], values)
    for name, domain in space.parameters.items():
        if domain.choice is not None:
            chosen = [float(name in kept and one == kept[name]) for one in domain.choice]
            effects += chosen
            places += [one / 2 for one in chosen]
        elif name in kept:
            unit = place(domain, kept[name])
            effects += [2 * (unit - 0.5), 8 * (unit - 0.5) ** 2 - 0.67]
            places.append(unit)
        else:
            effects += [0.0, 0.0]
            places.append(MIDDLE)
    return effects, places


def _known(name: str, domain: Domain, values: Mapping[str, Any]) -> Any:
    if name not in values:
        rule = "must have a value, for it exists under the values of its parents"
        raise ConfigError([Problem("configuration", name, None, rule)])
    value = as_chosen(domain, values[name])
    if not contains(domain, value):
        rule = f"must lie in its domain, {domain.kind} {list(domain.choice or domain.bounds or ())}"
        raise ConfigError([Problem("configuration", name, values[name], rule)])
    return value
