"""How many distinct settings the parameters of a space have, and which of them the constraints let through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ikd.config.recipe.recipe import Recipe
from ikd.config.space.constraints import Constraint, Read, Uncomputable
from ikd.config.space.sections import SpaceSections
from ikd.errors import ConfigError


def number_of_settings(space: SpaceSections) -> float:
    """Return how many settings there are, switched-off parameters left out; infinite with a continuous range."""
    total: float = 1
    for names in _families(space):
        total *= _count(space, names, {}, {})
    return total


def _families(space: SpaceSections) -> list[tuple[str, ...]]:
    """Return the parameters in groups that do not depend on each other, parents before children."""
    families: list[set[str]] = []
    for name in space.parameters:
        own = {name, *space.parents(name)}
        for family in [family for family in families if family & own]:
            own |= family
            families.remove(family)
        families.append(own)
    ordered = space.ordered()
    return [tuple(name for name in ordered if name in family) for family in families]


def _count(space: SpaceSections, names: tuple[str, ...], values: dict[str, Any], known: dict[Any, float]) -> float:
    """Count the settings of `names`, given `values` of parents; `known` remembers what was counted."""
    if not names:
        return 1
    head, rest = names[0], names[1:]
    read = {parent for name in names for parent in space.parents(name)}
    values = {name: value for name, value in values.items() if name in read}
    key = len(names), json.dumps(values, sort_keys=True)
    if key not in known:
        domain = space.parameters[head]
        if not space.is_active(head, values):
            known[key] = _count(space, rest, values, known)
        elif any(head in space.parents(name) for name in rest):
            each = ({**values, head: value} for value in domain.grid() or ())
            known[key] = sum(_count(space, rest, one, known) for one in each)
        else:
            known[key] = domain.size * _count(space, rest, values, known)
    return known[key]


COUNTED = 20_000
"""Configurations that are counted one by one, at most."""


def reader(space: SpaceSections, recipe: Recipe, values: Mapping[str, Any]) -> Read:
    """Return what reads the fields of a trial: `recipe` with parameter values, built only where that is needed.

    Raises:
        ConfigError: (by the reader) the recipe refuses the values.
    """
    fed = space.expanded(values)

    def read(field: str) -> Any:
        if field in fed:
            return fed[field]
        if any(one.startswith(field + ".") or field.startswith(one + ".") for one in fed):
            return recipe.with_values(fed).value(field)
        return recipe.value(field)

    return read


def fulfilled_or_why_not(rule: Constraint, read: Read) -> bool | str:
    """Return whether a constraint is fulfilled, or why that cannot be computed."""
    try:
        return rule.holds(read)
    except Uncomputable as error:
        return str(error)
    except ConfigError:  # values that the recipe takes only together with others
        return False
