"""In which places two contents differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ikd.config.document import Location, dotted
from ikd.config.recipe.recipe import Recipe

IDLE = ("name", "description")
ABSENT = object()
"""Stands for what one of two contents does not have."""
Change = tuple[Location, Any, Any]


def changes(before: Any, after: Any, place: Location = ()) -> Iterator[Change]:
    """Yield where two plain contents differ, with both values: in as few places as say it all."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from changes(before.get(key, ABSENT), after.get(key, ABSENT), (*place, str(key)))
    elif before != after and {id(before), id(after)} != {id(None), id(ABSENT)}:  # null is as good as not written
        yield place, before, after


def differences(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the fields by dotted name that differ, with both values; None where a recipe has no such field."""
    found = {dotted(place): (old, new) for place, old, new in changes(one.as_dict(), other.as_dict())}
    plain = {name: (_plain(old), _plain(new)) for name, (old, new) in found.items()}
    return {name: pair for name, pair in plain.items() if name not in IDLE}


def _plain(value: Any) -> Any:
    return None if value is ABSENT else value
