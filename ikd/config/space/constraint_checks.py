"""Rules for constraints: they can be read and computed, some configuration fulfils them, and they refuse something."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ikd.config.document import Document, Location
from ikd.config.recipe.fields import unknown_field
from ikd.config.recipe.recipe import Recipe
from ikd.config.space.constraints import Constraint, constraint
from ikd.config.space.counting import COUNTED, fulfilled_or_why_not, reader
from ikd.config.space.sections import SpaceSections
from ikd.errors import Problem

DRAWS = 5000
"""Random configurations that are tried where there are too many to try all."""
NO_CONFIGURATION = "no configuration"
"""How to say that none is left where all were tried."""


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
    faults = [_fulfilment_fault(space, recipe, rule) for rule in space.rules]
    for index, (rule, fault) in enumerate(zip(space.rules, faults, strict=True)):
        if fault is not None:
            yield document.problem(("constraints", index), rule.text, fault)
    if any(faults) or len(space.rules) < 2:
        return
    parameters = {name for rule in space.rules for name in _parameters_read(space, rule)}
    settings, nothing = _settings_to_try(space, parameters)
    reads = (reader(space, recipe, values) for values in settings)
    if not any(all(fulfilled_or_why_not(rule, read) is True for rule in space.rules) for read in reads):
        fault = f"must leave something to try: {nothing} fulfils all of them together"
        yield document.problem(("constraints",), None, fault)


def _fulfilment_fault(space: SpaceSections, recipe: Recipe, rule: Constraint) -> str | None:
    """Return what is wrong with what a constraint lets through, or None."""
    parameters = _parameters_read(space, rule)
    if not parameters:
        return f"must read a searched field, and reads {', '.join(rule.fields) or 'none'}"
    settings, nothing = _settings_to_try(space, parameters)
    results = [fulfilled_or_why_not(rule, reader(space, recipe, values)) for values in settings]
    if True not in results:
        why = next((f" ({one})" for one in results if isinstance(one, str)), "")
        return f"must leave something to try: {nothing} fulfils it{why}"
    fixed = any(space.parameters[name].size == 1 for name in parameters)
    if nothing == NO_CONFIGURATION and not fixed and all(one is True for one in results):
        return "must refuse something: every configuration fulfils it; take it out"
    return None


def _parameters_read(space: SpaceSections, rule: Constraint) -> tuple[str, ...]:
    """Return the parameters that feed a field that the constraint reads, part of one, or the section around one."""
    fed = {field: name for name, domain in space.parameters.items() for field in (name, *domain.also)}
    pairs = itertools.product(fed, rule.fields)
    found = [fed[a] for a, b in pairs if a == b or a.startswith(b + ".") or b.startswith(a + ".")]
    return tuple(dict.fromkeys(found))


def _settings_to_try(space: SpaceSections, names: Iterable[str]) -> tuple[Iterator[Mapping[str, Any]], str]:
    """Return values of some parameters and their ancestors, all or random ones of many, and how to say none of them."""
    involved = space.with_ancestors(names)
    if math.prod(space.parameters[name].size for name in involved) <= COUNTED:
        return space.settings(involved), NO_CONFIGURATION
    generator = random.Random(0)
    drawn = (_random_setting(space, involved, generator) for _ in range(DRAWS))
    return drawn, f"none of {DRAWS} random configurations"


def _random_setting(space: SpaceSections, names: tuple[str, ...], generator: random.Random) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        if not space.is_active(name, values):
            continue
        domain = space.parameters[name]
        if (grid := domain.grid()) is not None:
            values[name] = generator.choice(grid)
        elif domain.log_uniform is not None:
            values[name] = math.exp(generator.uniform(*map(math.log, domain.ends)))
        else:
            values[name] = generator.uniform(*domain.ends)
    return values
