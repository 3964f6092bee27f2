"""Values of a search space as the numbers that the effects model sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ikd.config import SearchSpace
from ikd.errors import ConfigError, Problem
from ikd.sweep.records.domains import Scale, as_chosen

Matrix = NDArray[np.float64]
ABSENT = object()
"""Equal to no choice."""
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
        return Axes(space).coordinates(points, lacking=lacking)


Row = tuple[list[float], list[float]]


class Axes:
    """The parameters of a space, with what is asked of each of them hundreds of times for a proposal worked out once.

    Attributes:
        order: names, parents before children.
        scales: by name, in the order of the space.
        exists: by name, whether the parameter exists, given the values of its parents.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.order = space.ordered()
        self.scales = {name: Scale(domain) for name, domain in space.parameters.items()}
        self.exists = space.existence()
        self._rows: dict[int, tuple[Mapping[str, Any], Row]] = {}

    def coordinates(self, points: Sequence[Mapping[str, Any]], *, lacking: bool = False) -> Coordinates:
        """Return the rows of some configurations, see `Coordinates.of`; of the same mapping they are found again."""
        rows = [self._row(values, lacking=lacking) for values in points]
        effects, places = ([row[half] for row in rows] for half in (0, 1))
        return Coordinates(*(np.array(half, dtype=np.float64).reshape(len(rows), -1) for half in (effects, places)))

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Drop the values of parameters that do not exist under their parents' values."""
        kept: dict[str, Any] = {}
        for name in self.order:
            if self.exists[name](kept):
                kept[name] = values[name]
        return kept

    def _row(self, values: Mapping[str, Any], *, lacking: bool) -> Row:
        if id(values) not in self._rows:
            self._rows[id(values)] = values, self._made(values, lacking=lacking)  # kept, so that its id stays its own
        return self._rows[id(values)][1]

    def _made(self, values: Mapping[str, Any], *, lacking: bool) -> Row:
        effects: list[float] = []
        places: list[float] = []
        kept: dict[str, Any] = {}
        for name in self.order:
            if self.exists[name](kept) and not (lacking and name not in values):
                kept[name] = _known(name, self.scales[name], values)
        for name, scale in self.scales.items():
            if (choice := scale.domain.choice) is not None:
                value = kept.get(name, ABSENT)
                chosen = [1.0 if one == value else 0.0 for one in choice]
                effects += chosen
                places += [one / 2 for one in chosen]
            elif name in kept:
                unit = scale.place(kept[name])
                effects += [2 * (unit - 0.5), 8 * (unit - 0.5) ** 2 - 0.67]
                places.append(unit)
            else:
                effects += [0.0, 0.0]
                places.append(MIDDLE)
        return effects, places


def _known(name: str, scale: Scale, values: Mapping[str, Any]) -> Any:
    if name not in values:
        rule = "must have a value, for it exists under the values of its parents"
        raise ConfigError([Problem("configuration", name, None, rule)])
    domain, value = scale.domain, values[name]
    value = value if scale.plain else as_chosen(domain, value)
    if not scale.contains(value):
        rule = f"must lie in its domain, {domain.kind} {list(domain.choice or domain.bounds or ())}"
        raise ConfigError([Problem("configuration", name, values[name], rule)])
    return value
