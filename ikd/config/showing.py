"""Recipes for people: which are shipped, and what one says after all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ikd.config.document import Document, Location, dotted, read_yaml
from ikd.config.files import SHIPPED, load_recipe, recipe_document, recipe_names

GROUPS = {
    "drawn": "On the data set that ikd draws, minutes on a CPU",
    "small": "For a small data set of your own, on a CPU",
    "coco": "COCO at 1333x800, the student alone",
    "retinanet": "COCO at 1333x800, distilled",
    "voc": "PASCAL VOC 07+12 at 1000x600, alone",
}
"""Titles of the recipes of no table, by how their names begin."""
OTHERS = "Others"


def recipe_groups() -> dict[str, dict[str, str]]:
    """Return the shipped recipes in groups, those of papers by table: title -> name -> description."""
    groups: dict[str, dict[str, str]] = {title: {} for title in GROUPS.values()}
    for name in sorted(
        recipe_names(), key=lambda name: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", name)]
    ):
        said = str(read_yaml(SHIPPED / f"{name}.yaml").data.get("description", ""))
        table = re.match(r"((?:IKD|DFMSD|GK) Table \w+(?:\.\d+)?)(?:: |, )?", said)
        title = table[1] if table else GROUPS.get(name.split("_")[0], OTHERS)
        groups.setdefault(title, {})[name] = said.removeprefix(table[0]) if table else said
    if others := groups.pop(OTHERS, {}):
        groups[OTHERS] = others  # last, whatever they are called
    return {title: recipes for title, recipes in groups.items() if recipes}


def recipe_lines(name: str, values: Mapping[str, Any] | None = None) -> list[tuple[str, str, str]]:
    """Return all that a recipe says: dotted field, value as YAML writes it, and the file and line that say so.

    Args:
        name: of a shipped recipe, or path of a file.
        values: fields set from outside (`--set`).

    Raises:
        ConfigError: as `load_recipe` does.
    """
    recipe, document = load_recipe(name, values), recipe_document(name)
    lines = []
    for location, value in _leaves(recipe.as_dict()):
        field = dotted(location)
        from_outside = any(field == one or field.startswith((f"{one}.", f"{one}[")) for one in values or {})
        lines.append((field, _written(value), "--set" if from_outside else _source(document, location)))
    return lines


def _leaves(node: Any, location: Location = ()) -> list[tuple[Location, Any]]:
    if not isinstance(node, Mapping) or not node:
        return [(location, node)]
    return [leaf for key, one in node.items() for leaf in _leaves(one, (*location, key))]


def _written(value: Any) -> str:
    return yaml.safe_dump([value], default_flow_style=True, width=float("inf"), allow_unicode=True).strip()[1:-1]


def _source(document: Document, location: Location) -> str:
    if location not in document.lines:
        return "default"
    file = Path(document.files.get(location, document.file))
    return f"{file.name if file.parent == SHIPPED else file}:{document.lines[location]}"
