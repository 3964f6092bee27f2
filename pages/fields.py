"""The reference of every field of recipes, search spaces and runners, as Markdown from their JSON schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from ikd.config.schema import json_schema

Kind = Literal["recipe", "space", "runner"]
Schema = dict[str, Any]

TITLES: dict[Kind, str] = {"recipe": "Recipe", "space": "Search space", "runner": "Runner"}
BEGINS: dict[Kind, str] = {
    "recipe": "A recipe is one complete training set-up: data, student, teachers, losses, schedule. "
    "`ikd recipe show FILE` prints every value of one, with the file and line that say it; "
    "[which recipe fits](../howto/which.md) names the shipped ones.",
    "space": "A search space says which recipe fields vary, what is optimised, by whom, and for how long. "
    "[Sweeps](../sweeps.md) has the language with examples; `ikd space show FILE` prints a space as a table.",
    "runner": "A runner says where a sweep runs, with which resources, and where its results go.",
}
MADE = "The tables are made from the types in `ikd/config/`: names, defaults and ranges are those that are checked."


def page(kind: Kind) -> str:
    """Return the page of one kind of file: a table for each section, fields by their dotted names."""
    schema = json_schema(kind)
    sections: dict[str, Schema] = schema.get("$defs", {})
    parts = [f"# {TITLES[kind]} fields", BEGINS[kind], MADE]
    for prefix, section in _sections(schema, sections):
        parts.append(f"## {_code(prefix) or 'At the top'}\n\n{_text(section.get('description', ''))}")
        rows = [_row(f"{prefix}.{name}" if prefix else name, field, sections) for name, field in _fields(section)]
        parts.append("\n".join(["| field | kind | default | meaning |", "|---|---|---|---|", *rows]))
    return "\n\n".join(part for part in parts if part.strip()) + "\n"


def _fields(section: Schema) -> list[tuple[str, Schema]]:
    return list(section.get("properties", {}).items())


def _sections(top: Schema, sections: dict[str, Schema], prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield each section once by the dotted name of its first place, those within it after it."""
    if _fields(top):
        yield prefix, top
    for name, field in _fields(top):
        if name in ("parameters", "set") and not prefix and "patternProperties" in field:
            for inner in ("Domain",) if name == "parameters" else ():  # recipe fields have a page
                yield from _sections(sections[inner], sections, "parameters.FIELD")
            continue
        below, free = _held(field)
        if below is not None and below not in ("Condition", "Recipe"):
            yield from _sections(sections[below], sections, ".".join(filter(None, (prefix, name, free))))


def _held(field: Schema) -> tuple[str | None, str]:
    """Return the section that a field holds, if any, and how its keys or places are written."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2], ""
    inner = [(field.get("additionalProperties"), "NAME"), (field.get("items"), "")]
    inner += [(one, "") for one in [*field.get("anyOf", ()), *field.get("oneOf", ())]]
    for option, free in inner:
        held, below = _held(option) if isinstance(option, dict) else (None, "")
        if held is not None:
            return held, free or below
    return None, ""


def _row(name: str, field: Schema, sections: dict[str, Schema]) -> str:
    held, _ = _held(field)
    default = "" if "default" not in field or held in sections else _code(_yaml(field["default"]))
    return f"| {_code(name)} | {_kind(field)} | {default} | {_text(field.get('description', ''))} |"


def _kind(schema: Schema) -> str:
    """Return in words what a field takes."""
    if "$ref" in schema:
        return "section"
    if "enum" in schema or "const" in schema:
        return " \\| ".join(_code(_yaml(one)) for one in schema.get("enum", [schema.get("const")]))
    options = schema.get("anyOf", schema.get("oneOf"))
    if options:
        return ", or ".join(dict.fromkeys(map(_kind, options)))
    if schema.get("type") == "array":
        return _list(schema)
    if schema.get("type") == "object":
        return "mapping"
    words = {
        "number": "number",
        "integer": "whole number",
        "string": "text",
        "boolean": "true or false",
        "null": "null",
    }
    return words.get(str(schema.get("type")), "any value") + _range(schema)


def _list(schema: Schema) -> str:
    items = schema.get("items", {})
    if isinstance(items, list):
        return f"{len(items)} values: {', '.join(_kind(one) for one in items)}"
    return f"list of: {_kind(items)}" if items else "list"


def _range(schema: Schema) -> str:
    bounds = [f"{sign} {schema[key]:.10g}" for key, sign in _BOUNDS.items() if key in schema]
    return f" {', '.join(bounds)}" if bounds else ""


_WORDS = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true or false", "null": "null"}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _text(text: str) -> str:
    """Return a description as a cell has it: one line, and no character that begins a column or a tag."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(
        part if index % 2 else part.replace("<", "&lt;").replace("$", "\\$") for index, part in enumerate(parts)
    )
