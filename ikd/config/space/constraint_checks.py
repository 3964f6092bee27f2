"""Rules for constraints: they can be read and computed, some configuration fulfils them, and they refuse something."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from ikd.config.document import Document, Location
from ikd.config.recipe.fields import unknown_field
from ikd.config.recipe.recipe import Recipe
from ikd.config.space.constraints import Constraint, Read, Uncomputable, constraint
from ikd.config.space.counting import COUNTED, reader
from ikd.config.space.domain import Domain
from ikd.config.space.sections import SpaceSections
from ikd.errors import ConfigError, Problem

DRAWS = 5000
"""Random configurations that are tried where there are too many to try all."""


def constraint_problems(space: SpaceSections, document: Document) -> Iterator[Problem]:
    """Yield constraints that are no expressions of recipe fields."""
    for index, text in enumerate(space.constraints):
        place: Location = ("constraints", index)
        try:
            fields = constraint(text).fields
        except ValueError as error:
            yield document.problem(place, text, str(error))
            continue
        for field in fields:
            rule = unknown_field(field)
            if rule is not None:
                yield document.problem(place, text, f"{field} {rule}")
        if text in space.constraints[:index]:
            yield document.problem(place, text, "must not be written twice")


def fulfilment_problems(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    """Yield constraints that every or no configuration of a right, resolved space fulfils, alone or together."""
    count = 0
    for index, rule in enumerate(space.rules):
        told = _told(space, recipe, rule)
        count += told is not None
        if told is not None:
            yield document.problem(("constraints", index), rule.text, told)
    if count or len(space.rules) < 2:
        return
    owners = {name for rule in space.rules for name in _owners(space, rule)}
    whole, settings = _settings(space, owners)
    if not any(all(_result(rule, reader(space, recipe, one)) is True for rule in space.rules) for one in settings):
        told = "must leave something to try: " + _among("no", whole) + " fulfils all of them together"
        yield document.problem(("constraints",), None, told)


def _told(space: SpaceSections, recipe: Recipe, rule: Constraint) -> str | None:
    """Return what is wrong with what a constraint lets through, or None."""
    owners = _owners(space, rule)
    if not owners:
        return f"must read a searched field, and reads {', '.join(rule.fields) or 'none'}"
    whole, settings = _settings(space, owners)
    results = [_result(rule, reader(space, recipe, one)) for one in settings]
    if True not in results:
        why = next((f" ({one})" for one in results if isinstance(one, str)), "")
        return f"must leave something to try: {_among('no', whole)} fulfils it{why}"
    fixed = any(space.parameters[name].size == 1 for name in owners)
    if whole and not fixed and all(one is True for one in results):
        return "must refuse something: every configuration fulfils it; take it out"
    return None


def _among(none: str, whole: bool) -> str:
    return f"{none} configuration" if whole else f"{'none' if none == 'no' else none} of {DRAWS} random configurations"


def _result(rule: Constraint, read: Read) -> bool | str:
    """Return whether a constraint is fulfilled, or why that cannot be computed."""
    try:
        return rule.holds(read)
    except Uncomputable as error:
        return str(error)
    except ConfigError:  # values that the recipe takes only together with others
        return False


def _owners(space: SpaceSections, rule: Constraint) -> tuple[str, ...]:
    """Return the parameters that feed a field that the constraint reads, part of one, or the section around one."""
    fed = {field: name for name, domain in space.parameters.items() for field in (name, *domain.also)}
    pairs = itertools.product(fed, rule.fields)
    found = [fed[a] for a, b in pairs if a == b or a.startswith(b + ".") or b.startswith(a + ".")]
    return tuple(dict.fromkeys(found))


def _settings(space: SpaceSections, names: Any) -> tuple[bool, Iterator[Mapping[str, Any]]]:
    """Return values to try for some parameters and their ancestors: all of them, or random ones of many."""
    involved = space.with_ancestors(names)
    if math.prod(space.parameters[name].size for name in involved) <= COUNTED:
        return True, space.settings(names)
    generator = random.Random(0)
    return False, (_drawn(space, involved, generator) for _ in range(DRAWS))


def _drawn(space: SpaceSections, names: tuple[str, ...], generator: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        if space.is_active(name, values):
            values[name] = _value(space.parameters[name], generator)
    return values


def _value(domain: Domain, generator: random.Random) -> Any:
    grid = domain.grid()
    if grid is not None:
        return generator.choice(grid)
    low, high = domain.ends
    if domain.log_uniform is not None:
        return math.exp(generator.uniform(math.log(low), math.log(high)))
    return generator.uniform(low, high)
