"""Recipe fields by dotted name."""

from __future__ import annotations

import difflib
import json
from typing import Any, get_args

from ikd.config.recipe.sections import RecipeSections
from ikd.config.section import LossWeight, Section


def unknown_field(name: str) -> str | None:
    """Return why `name` is no dotted recipe field, or None when it is one."""
    owner: Any = RecipeSections
    parts = name.split(".")
    for index, part in enumerate(parts):
        fields = getattr(owner, "model_fields", None)
        if fields is None:
            return f"{'.'.join(parts[:index])} has no fields below it"
        if part not in fields:
            near = difflib.get_close_matches(name, field_names(), n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"the fields there are {', '.join(fields)}"
            return f"is no recipe field; {hint}"
        owner = _below(fields[part].annotation)
        if owner is dict:
            return None  # free keys below: arguments, overrides, teachers by name
    return None


def field_names(owner: type[Section] = RecipeSections, prefix: str = "") -> list[str]:
    """Return the dotted names of all recipe fields."""
    names: list[str] = []
    for name, field in owner.model_fields.items():
        below = _below(field.annotation)
        inside = isinstance(below, type) and issubclass(below, Section)
        names += field_names(below, f"{prefix}{name}.") if inside else [prefix + name]
    return names


def loss_weights(owner: type[Section] = RecipeSections, prefix: str = "") -> list[str]:
    """Return the dotted names of all fields that are weights of a loss, below `owner`."""
    names: list[str] = []
    for name, field in owner.model_fields.items():
        below = _below(field.annotation)
        if isinstance(below, type) and issubclass(below, Section):
            names += loss_weights(below, f"{prefix}{name}.")
        elif any(isinstance(mark, LossWeight) for mark in field.metadata):
            names.append(prefix + name)
    return names


def _below(annotation: Any) -> Any:
    """Return the section class of a field, `dict` for free keys, or None for a plain value."""
    members = get_args(annotation) or (annotation,)
    if getattr(annotation, "__origin__", None) is dict:
        return dict
    return next((member for member in members if isinstance(member, type) and issubclass(member, Section)), None)


def assign(data: dict[str, Any], name: str, value: Any) -> None:
    """Set a field of a recipe in plain values by its dotted name; mappings on the way are made."""
    *parents, last = name.split(".")
    for index, part in enumerate(parents):
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
        if part in (
            "arguments",
            "overrides",
            "lr_mult",
        ):  # a key below is dotted, as in `bbox_head.stacked_convs`
            last = ".".join([*parents[index + 1 :], last])
            break
    data[last] = value


def as_json(value: Any) -> Any:
    """Return a value as a JSON file would have it."""
    return json.loads(json.dumps(value))
