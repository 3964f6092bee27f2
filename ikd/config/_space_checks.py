"""Rules that tie a search space to its recipe; each fault names the one field to change."""

from __future__ import annotations

from collections.abc import Iterator

from ikd.config._recipe import Recipe
from ikd.config._space import SearchSpace, wanted
from ikd.config._yaml import Document, Location
from ikd.errors import ConfigError, Problem

NOT_SEARCHABLE = {
    "name": "it does not change training",
    "description": "it does not change training",
    "device": "it does not change training",
    "schedule.workers": "it does not change training",
    "attack.batch_size": "it does not change training",
    "schedule.epochs": "trials are compared at equal epochs",
    "schedule.val_interval": "trials are compared at equal epochs",
    "data.root": "trials must be validated on the same data",
    "data.val": "trials must be validated on the same data",
}


def check_space(space: SearchSpace, recipe: Recipe, document: Document) -> list[Problem]:
    """Return the faults of a search space against its recipe: names, conditions, values that the recipe refuses."""
    problems = [problem for name in space.parameters for problem in _parameter_problems(space, name, recipe, document)]
    if len(set(space.anchors)) != len(space.anchors):
        problems.append(document.problem(("anchors",), list(space.anchors), "must not repeat an anchor"))
    if space.budget.trials < len(space.anchors):
        rule = f"must cover at least the {len(space.anchors)} anchors"
        problems.append(document.problem(("budget", "trials"), space.budget.trials, rule))
    return problems


def _parameter_problems(space: SearchSpace, name: str, recipe: Recipe, document: Document) -> Iterator[Problem]:
    from ikd.config._loading import unknown_field  # the loader imports this module

    place: Location = ("parameters", name)
    rule = unknown_field(name)
    if rule is None:
        rule = next(
            (
                f"cannot be searched: {why}"
                for key, why in NOT_SEARCHABLE.items()
                if name == key or name.startswith(key + ".")
            ),
            None,
        )
    if rule is not None:
        yield document.problem(place, None, rule)
        return
    yield from _condition_problems(space, name, document)
    for value in space.parameters[name].ends:
        yield from _value_problems(space, name, value, recipe, document)


def _condition_problems(space: SearchSpace, name: str, document: Document) -> Iterator[Problem]:
    for parent, value in space.parameters[name].when.items():
        place: Location = ("parameters", name, "when", parent)
        if parent not in space.parameters:
            yield document.problem(
                place, None, f"must name another parameter of this space ({', '.join(space.parameters)})"
            )
            continue
        if _leads_to(space, parent, name):
            yield document.problem(place, None, "must not lead back to this parameter")
            continue
        choices = space.parameters[parent].choice
        if choices is None:
            yield document.problem(place, None, "must be a choice parameter to condition on")
        for one in wanted(value):
            if choices is not None and one not in choices:
                yield document.problem(place, one, f"must be among the choices of {parent}: {[*choices]}")


def _leads_to(space: SearchSpace, start: str, target: str) -> bool:
    pending, seen = [start], set()
    while pending:
        name = pending.pop()
        if name == target:
            return True
        if name in space.parameters and name not in seen:
            seen.add(name)
            pending += space.parameters[name].when
    return False


def _value_problems(
    space: SearchSpace, name: str, value: object, recipe: Recipe, document: Document
) -> Iterator[Problem]:
    """Try one end of a range in the recipe; faults of other fields do not count, they may vary too."""
    try:
        recipe.with_values({name: value})
    except ConfigError as error:
        for problem in error.problems:
            if problem.field == name or problem.field.startswith(name + "[") or problem.field.startswith(name + "."):
                if name in space.parameters and _is_cross_field(name, space):
                    continue
                yield document.problem(("parameters", name), value, problem.rule)


def _is_cross_field(name: str, space: SearchSpace) -> bool:
    """Tell whether the rule of this field depends on another searched field."""
    partners = {"attack.step": "attack.eps", "distill.host": "teachers.sequence"}
    return partners.get(name) in space.parameters
