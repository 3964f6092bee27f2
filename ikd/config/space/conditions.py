"""Conditions: under which values of other parameters a parameter exists.

A condition maps parents to the value, or the list of values, that they must have; all of it must hold. `any` and `all`
hold lists of conditions, `not` one: `{any: [{distill.host: fgd}, {augment.enabled: true, not: {distill.host: none}}]}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ikd.config.document import Location

When = dict[str, Any]
GROUPS = ("any", "all")
NEGATION = "not"
Fault = tuple[Location, object, str]
Test = Callable[[Mapping[str, Any]], bool]


def wanted(value: Any) -> list[Any]:
    """Return the values under which a condition holds; a single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


def holds(when: When, values: Mapping[str, Any]) -> bool:
    """Tell whether a condition holds; a parent without a value matches nothing, so `not` of it holds."""
    return test_of(when)(values)


def test_of(when: When) -> Test:
    """Return what tells whether a condition holds, for whoever asks of many values."""
    tests = [_test(key, content) for key, content in when.items()]

    def test(values: Mapping[str, Any]) -> bool:
        for one in tests:  # a loop, not `all`: samplers ask tens of thousands of times
            if not one(values):
                return False
        return True

    return test


def _test(key: str, content: Any) -> Test:
    if key == NEGATION:
        negated = test_of(content)
        return lambda values: not negated(values)
    if key in GROUPS:
        group, tests = {"any": any, "all": all}[key], [test_of(one) for one in content]
        return lambda values: group(one(values) for one in tests)
    matched = wanted(content)
    return lambda values: key in values and values[key] in matched


def matches(when: When, place: Location = ()) -> Iterator[tuple[Location, str, Any]]:
    """Yield the places, parents and wanted values of a condition of right structure, those inside groups too."""
    for key, content in when.items():
        here: Location = (*place, key)
        if key == NEGATION:
            yield from matches(content, here)
        elif key in GROUPS:
            for index, one in enumerate(content):
                yield from matches(one, (*here, index))
        else:
            yield here, key, content


def parents(when: When) -> tuple[str, ...]:
    """Return the parameters that a condition reads, each once, in the order of the file."""
    return tuple(dict.fromkeys(parent for _, parent, _ in matches(when)))


def translated(when: When, change: Callable[[str, Any], Any]) -> When:
    """Return a condition with the content of each test replaced by `change(parent, content)`."""

    def of(key: str, content: Any) -> Any:
        if key == NEGATION:
            return translated(content, change)
        return [translated(one, change) for one in content] if key in GROUPS else change(key, content)

    return {key: of(key, content) for key, content in when.items()}


def structure_faults(when: When, place: Location) -> Iterator[Fault]:
    """Yield what is wrong with the form of a condition: groups that are no lists, tests without a value."""
    for key, content in when.items():
        here: Location = (*place, key)
        if key == NEGATION:
            yield from _condition_faults(content, here)
        elif key in GROUPS and (not isinstance(content, list) or not content):
            yield here, content, "must be a list of conditions, at least one"
        elif key in GROUPS:
            for index, one in enumerate(content):
                yield from _condition_faults(one, (*here, index))
        elif wanted(content) == []:
            yield here, content, "must list at least one value"


def _condition_faults(content: Any, place: Location) -> Iterator[Fault]:
    if isinstance(content, dict) and content:
        yield from structure_faults(content, place)
    else:
        yield place, content, "must be a condition, a mapping of parameter: value"
