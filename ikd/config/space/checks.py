"""Rules that tie a search space to its recipe; each fault names the one field to change."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ikd.config.document import Document, Location
from ikd.config.recipe.fields import unknown_field
from ikd.config.recipe.recipe import Recipe
from ikd.config.recipe.schedule_rules import FALLS
from ikd.config.recipe.stages import SEQUENCE, TOGETHER
from ikd.config.recipe.terms import WITHOUT_TEACHER
from ikd.config.space.conditions import matches, structure_faults, wanted
from ikd.config.space.constraint_checks import constraint_problems, fulfilment_problems
from ikd.config.space.counting import COUNTED
from ikd.config.space.search_checks import check_search
from ikd.config.space.sections import SpaceSections
from ikd.config.space.sequences import LISTED_SEQUENCES, Sequences
from ikd.errors import ConfigError, Problem

NOT_SEARCHABLE = {
    "name": "it does not change training",
    "description": "it does not change training",
    "device": "it does not change training",
    "schedule.workers": "it does not change training",
    "attack.batch_size": "it does not change training",
    "schedule.epochs": "trials are compared at equal epochs",
    "schedule.epochs_per_stage": "trials are compared at equal epochs; anchors show what longer stages do",
    "schedule.val_interval": "trials are compared at equal epochs",
    "schedule.val_last": "trials are compared at equal epochs",
    "schedule.sync_norm": "how many processes train is the runner's",
    "data.began_at": "it does not change training",
    "data.root": "trials must be validated on the same data",
    "data.val": "trials must be validated on the same data",
    "data.test": "no trial looks at it",
}
MOST_TRIED = 64
"""Settings of a parameter's parents under which its values are tried."""
PARTNERS = {
    **dict.fromkeys(WITHOUT_TEACHER, SEQUENCE),
    SEQUENCE: TOGETHER,
    "attack.step": "attack.eps",
    "distill.sfa.mode": "distill.host",
    "schedule.optimizer.nesterov": "schedule.optimizer.type",
    **dict.fromkeys((f"schedule.policy.{name}" for name in FALLS), "schedule.policy.type"),
}
"""Fields that some values of another field refuse: where both are searched, one legal pair of a value is enough."""


def check_space(space: SpaceSections, recipe: Recipe, document: Document) -> list[Problem]:
    """Return the faults of a search space against its recipe: names, conditions, values that the recipe refuses."""
    problems = list(_sequence_problems(space, recipe, document))
    for name, domain in space.parameters.items():
        faults = structure_faults(domain.when, ("parameters", name, "when"))
        problems += [document.problem(*fault) for fault in faults]
    if problems:  # nothing else can be tried without them
        return problems
    resolved = space.resolved(recipe)
    for name in space.parameters:
        problems += _parameter_problems(resolved, name, recipe, document)
    problems += constraint_problems(space, document)
    problems += _anchor_problems(space, recipe, document)
    return problems or list(_existence_problems(resolved, document))


def check_fixed(space: SpaceSections, recipe: Recipe, document: Document, fixed: Mapping[str, Any]) -> list[Problem]:
    """Return the faults of what is left to search once parameters are fixed from outside, in a space right before."""
    source = Document("--set", {})
    problems = [
        dataclasses.replace(problem, field=name)
        for name in fixed
        if name in space.parameters
        for problem in _value_problems(space, name, recipe, source)
    ]
    problems += check_search(space, recipe, document)
    return problems or list(fulfilment_problems(space, recipe, document))


def _sequence_problems(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    for name, domain in space.parameters.items():
        if domain.sequence is None:
            continue
        place: Location = ("parameters", name, "sequence")
        if name != SEQUENCE:
            yield document.problem(place, None, f"goes only with {SEQUENCE}; write a choice here")
            continue
        faults = list(_teacher_faults(domain.sequence, recipe))
        for index, value, rule in faults:
            yield document.problem((*place, "of", index), value, rule)
        if not faults:
            yield from _legality_problems(domain.sequence, recipe, document)


def _teacher_faults(sequence: Sequences, recipe: Recipe) -> Iterator[tuple[int, str, str]]:
    available = recipe.teachers.available
    for index, name in enumerate(sequence.of):
        if name not in available:
            known = ", ".join(available) or "none is defined"
            yield index, name, f"must be a name under teachers.available ({known})"
        elif sequence.order != "any" and available[name].ap is None:
            rule = f"needs teachers.available.{name}.ap, its mAP, for order weak_to_strong; or set order: any"
            yield index, name, rule


def _legality_problems(sequence: Sequences, recipe: Recipe, document: Document) -> Iterator[Problem]:
    ap = {name: recipe.teachers.available[name].ap for name in sequence.of}
    listed = sequence.listed(ap)
    place: Location = ("parameters", SEQUENCE, "sequence")
    if not listed:
        strengths = ", ".join(f"{name} {value:g}" for name, value in ap.items() if value is not None)
        rule = f"allows no sequence: none of {sequence.bounds[0]} teachers rises in ap ({strengths}); set order: any"
        yield document.problem(place, None, rule)
    if len(listed) > LISTED_SEQUENCES:
        yield document.problem(place, None, f"allows more than {LISTED_SEQUENCES} sequences; narrow of or length")


def _parameter_problems(space: SpaceSections, name: str, recipe: Recipe, document: Document) -> Iterator[Problem]:
    place: Location = ("parameters", name)
    rule = unsearchable(name)
    if rule is not None:
        yield document.problem(place, None, rule)
        return
    also = list(_also_problems(space, name, document))
    yield from also
    yield from _condition_problems(space, name, document)
    yield from _prior_problems(space, name, document)
    if not also:
        yield from _value_problems(space, name, recipe, document)


def unsearchable(name: str) -> str | None:
    """Return why a field cannot be searched, or None when it can."""
    held = (why for key, why in NOT_SEARCHABLE.items() if name == key or name.startswith(key + "."))
    return unknown_field(name) or next((f"cannot be searched: {why}" for why in held), None)


def _also_problems(space: SpaceSections, name: str, document: Document) -> Iterator[Problem]:
    for index, other in enumerate(space.parameters[name].also):
        rule = unsearchable(other)
        if rule is None and space.fields.count(other) > 1:
            rule = "must be fed by one parameter only"
        if rule is not None:
            yield document.problem(("parameters", name, "also", index), other, rule)


def _condition_problems(space: SpaceSections, name: str, document: Document) -> Iterator[Problem]:
    for place, parent, value in matches(space.parameters[name].when, ("parameters", name, "when")):
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
                hint = f"; write {[value]}, a list of values that are lists themselves" if value in choices else ""
                yield document.problem(place, one, f"must be among the choices of {parent}: {shown(choices)}{hint}")


def _existence_problems(space: SpaceSections, document: Document) -> Iterator[Problem]:
    """Refuse conditions that nothing fulfils, and those over too many values to look through."""
    for name in space.parameters:
        place: Location = ("parameters", name, "when")
        involved = space.with_ancestors(space.parents(name))
        combinations = math.prod(space.parameters[one].size for one in involved)
        if combinations > COUNTED:
            rule = f"must depend on at most {COUNTED} combinations of values of {', '.join(involved)}"
            yield document.problem(place, int(combinations), rule)
        elif not any(space.is_active(name, values) for values in space.settings(involved)):
            yield document.problem(place, None, f"must be possible: no values of {', '.join(involved)} fulfil it")


def _prior_problems(space: SpaceSections, name: str, document: Document) -> Iterator[Problem]:
    domain = space.parameters[name]
    if domain.prior is None or domain.contains(domain.prior.around):
        return
    values = f"among the choices {shown(domain.choice)}" if domain.choice else f"within {list(domain.bounds or ())}"
    if document.line(place := ("parameters", name, "prior", "around")) == document.line(place[:-1]):
        values += " (where nothing is written it is the recipe's own value)"
    yield document.problem(place, domain.prior.around, f"must lie {values}")


def _leads_to(space: SpaceSections, start: str, target: str) -> bool:
    pending, seen = [start], set()
    while pending:
        name = pending.pop()
        if name == target:
            return True
        if name in space.parameters and name not in seen:
            seen.add(name)
            pending += space.parents(name)
    return False


def _value_problems(space: SpaceSections, name: str, recipe: Recipe, document: Document) -> Iterator[Problem]:
    """Try the ends of a range in the recipe; faults of other fields do not count, they may vary too."""
    fields = (name, *space.parameters[name].also)
    lengths: dict[int, Any] = {recipe.total_epochs: "the recipe"}
    partner = space.parameters.get(PARTNERS.get(name, ""))
    for value in space.parameters[name].ends:
        fed = dict.fromkeys(fields, value)
        rules, epochs = _tried(recipe, fed, fields)
        if epochs:
            lengths.setdefault(epochs, value)
        pairs = [{**fed, PARTNERS[name]: one} for one in partner.ends] if rules and partner else []
        legal = itertools.chain(pairs, _existing(space, name, fed) if rules else ())
        if any(not _tried(recipe, pair, fields)[0] for pair in legal):
            continue
        listed = space.parameters[name].grid() is not None  # of a range an end may go where what lies within does not
        if listed and not rules and not epochs and (why := _never_drawn(space, name, recipe, fed)):
            rules = [f"can never be drawn, as no configuration with it goes: {why}"]
        for rule in rules:
            yield document.problem(("parameters", name), value, rule)
    if len(lengths) > 1:
        told = " and ".join(f"{value} trains {epochs}" for epochs, value in lengths.items())
        rule = "must not change the number of epochs, trials are compared at equal epochs: with "
        rule += f"schedule.epochs_per_stage {told}; set schedule.epochs instead, or search sequences of one length"
        yield document.problem(("parameters", name), None, rule)


def _never_drawn(space: SpaceSections, name: str, recipe: Recipe, fed: Mapping[str, Any]) -> str:
    """Return why the recipe takes a value of a parameter with no values of the others; empty where it may take it.

    Only where the others are few can be told, and where what is wrong is none of their ranges.
    """
    finite = [other for other, one in space.parameters.items() if one.grid() is not None]
    ranges = [other for other in space.parameters if other not in finite]
    found: list[Sequence[Problem]] = []
    for tried, values in enumerate(space.settings(finite)):
        if tried == MOST_TRIED:
            return ""
        if values.get(name, fed[name]) != fed[name] or not space.is_active(name, values):
            continue
        try:
            recipe.with_values({**space.expanded(values), **fed})
        except ConfigError as error:
            if any(one.field.startswith(other) for one in error.problems for other in ranges):
                return ""
            found.append(error.problems)
        else:
            return ""
    nearest = min(found, key=len, default=())
    return f"{nearest[0].field}: {nearest[0].rule}" if nearest else ""


def _existing(space: SpaceSections, name: str, fed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield values of a parameter with those of its parents under which it exists; the first of very many."""
    if space.parents(name):
        for values in itertools.islice(space.settings(space.parents(name)), MOST_TRIED):
            if space.is_active(name, values):
                yield {**space.expanded(values), **fed}


def _tried(recipe: Recipe, values: Mapping[str, Any], fields: Sequence[str]) -> tuple[list[str], int | None]:
    """Return what the recipe says against some of its fields, and how long it trains when nothing is wrong."""
    try:
        return [], recipe.with_values(values).total_epochs
    except ConfigError as error:
        return [
            problem.rule
            for problem in error.problems
            if any(problem.field == field or problem.field.startswith((field + "[", field + ".")) for field in fields)
        ], None


def _anchor_problems(space: SpaceSections, recipe: Recipe, document: Document) -> Iterator[Problem]:
    if len(set(space.anchors)) != len(space.anchors):
        yield document.problem(("anchors",), list(space.anchors), "must not repeat an anchor")
    if space.budget.trials < len(space.anchors):
        rule = f"must cover at least the {len(space.anchors)} anchors"
        yield document.problem(("budget", "trials"), space.budget.trials, rule)
    for index, anchor in enumerate(space.anchors):
        try:
            recipe.anchor(anchor)
        except ConfigError as error:
            rule = "; ".join(f"{problem.field} {problem.rule}" for problem in error.problems)
            yield document.problem(("anchors", index), anchor, f"does not go with the recipe: {rule}")


def shown(values: Sequence[Any] | None) -> str:
    """Write choices for a message, the first twenty of many."""
    values = values or ()
    return f"[{', '.join(repr(value) for value in values[:20])}{', ...' if len(values) > 20 else ''}]"
