"""What goes with a detector when a recipe names another one in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ikd.config.document import Location

SHIPPED_DETECTOR = "ikd::"
"""Beginning of the names of detectors that take arguments."""


def without_idle_arguments(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe starts from, without the arguments of detectors that it puts one without arguments in place.

    A recipe that is based on one with a shipped detector could else not name a config file of its own. Arguments that
    the recipe itself gives stay, and are refused.

    Args:
        under: plain values of the recipe that is started from.
        over: those that are laid over it.
    """
    kept = under
    for place in _detectors(over):
        said, there = _at(over, place), _at(kept, place)
        config = said.get("config")
        takes_none = isinstance(config, Mapping) or (
            isinstance(config, str) and not config.startswith(SHIPPED_DETECTOR)
        )
        if takes_none and "arguments" not in said and "arguments" in there:
            kept = _without(kept, (*place, "arguments"))
    return kept


def _detectors(recipe: Mapping[str, Any]) -> Iterator[Location]:
    yield ("student",)
    yield from (("teachers", "available", name) for name in _at(recipe, ("teachers", "available")))


def _at(node: Any, place: Location) -> Mapping[str, Any]:
    for part in place:
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def _without(node: dict[str, Any], place: Location) -> dict[str, Any]:
    first, *rest = place
    if not rest:
        return {key: value for key, value in node.items() if key != first}
    return {**node, str(first): _without(node[str(first)], tuple(rest))}
