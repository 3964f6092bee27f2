"""JSON schemas of recipes, search spaces and runners, for editors: completion, descriptions, wrong fields underlined.

They are made from the types. An editor sees one file at a time, so a field that another file may bring (`base` of a
recipe, `include` of a space) is not required.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic.json_schema import models_json_schema

from ikd.config.recipe.recipe import Recipe
from ikd.config.runner import Runner
from ikd.config.section import Section
from ikd.config.space.checks import unsearchable
from ikd.config.space.conditions import GROUPS, NEGATION
from ikd.config.space.space import SearchSpace

Kind = Literal["space", "recipe", "runner"]
Schema = dict[str, Any]
_CLASSES: Mapping[str, type[Section]] = {"space": SearchSpace, "recipe": Recipe, "runner": Runner}
_TEXTS = {"type": "array", "items": {"type": "string"}}
FREE = ("student.arguments", "student.overrides", "teachers.available")
"""Fields with free keys below."""
_DIALECT = "http://json-schema.org/draft-07/schema#"


def json_schema(kind: Kind) -> Schema:
    """Return the JSON schema (draft 7) of one kind of file."""
    _, definitions = models_json_schema([(_CLASSES[kind], "validation"), (Recipe, "validation")])
    sections: dict[str, Schema] = definitions["$defs"]
    for cls in _below(Section):
        properties = sections.get(cls.__name__, {}).get("properties", {})
        for name, text in _meanings(cls).items() if properties else ():
            properties[name] = dict(sorted({"description": text, **properties[name]}.items()))
    for section in sections.values():
        section.pop("required", None)
        for node in _nodes(section):
            if isinstance(node.get("title"), str):
                del node["title"]
            if "prefixItems" in node:  # the name of a later draft
                node["items"] = node.pop("prefixItems")
        for field in section.get("properties", {}).values():  # left out where field and section say the same
            name = str(field.get("$ref", "")).rpartition("/")[2]
            field.setdefault("description", sections.get(name, {}).get("description", ""))
    top = sections.pop(_CLASSES[kind].__name__)
    if kind == "recipe":
        base = "Recipe this one starts from, a shipped name or a path beside the file; then only what differs."
        top["properties"] = {"base": {"type": "string", "description": base}, **top["properties"]}
        top["anyOf"] = [{"required": ["base"]}, {"required": ["data", "student"]}]
    elif kind == "space":
        _finish_space(top, sections)
    used = _used(top, sections)
    definitions = {name: sections[name] for name in sorted(used)}
    return {"$schema": _DIALECT, "title": f"ikd {kind}", **top, **({"$defs": definitions} if definitions else {})}


def _below(cls: type[Section]) -> Iterator[type[Section]]:
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)


def _meanings(cls: type[Section]) -> dict[str, str]:
    """Return what the text below each field of a section says, by the name in the file.

    Not by pydantic's `use_attribute_docstrings`: that parses the sources at import, which takes a tenth of a second.
    """
    texts: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if issubclass(owner, Section) and owner.__name__ in (classes := _classes(owner.__module__)):
            for field, text in itertools.pairwise(classes[owner.__name__].body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                ):
                    texts[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value))
    fields = {name: field for name, field in cls.model_fields.items() if name in texts}
    return {field.alias or name: texts[name] for name, field in fields.items()}


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def write_schemas(folder: Path) -> list[Path]:
    """Write `space.json`, `recipe.json` and `runner.json` into a folder, which is made; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{kind}.json" for kind in get_args(Kind)]
    for path in paths:
        path.write_text(schema_text(path.stem), encoding="utf-8")
    return paths


def schema_text(kind: Any) -> str:
    """Return the text of a schema file."""
    return json.dumps(json_schema(kind), indent=1, ensure_ascii=False) + "\n"


def _finish_space(top: Schema, sections: dict[str, Schema]) -> None:
    fields = dict(_fields({"$ref": "#/$defs/Recipe"}, sections))
    include = "Search spaces underneath this one, in order, by their paths from this file; mappings merge."
    top["properties"] = {"include": {**_TEXTS, "description": include}, **top["properties"]}
    top["anyOf"] = [{"required": ["recipe"]}, {"required": ["include"]}]
    domain = {"anyOf": [{"$ref": "#/$defs/Domain"}, {"type": "null"}]}
    searchable = {
        name: {"description": field.get("description", ""), **domain}
        for name, field in fields.items()
        if unsearchable(name) is None
    }
    _open(top["properties"]["parameters"], searchable, domain)
    _open(top["properties"]["set"], fields, {})
    group = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Condition"}}
    own = sections["Domain"]["properties"]["when"]
    sections["Condition"] = {
        "type": "object",
        "description": own["description"],
        "properties": {**dict.fromkeys(GROUPS, group), NEGATION: {"$ref": "#/$defs/Condition"}},
        "additionalProperties": True,
    }
    sections["Domain"]["properties"]["when"] = {"$ref": "#/$defs/Condition"}
    for name in ("Scheduler", "Sampler"):
        one = f"^({'|'.join(sections[name]['properties'])})$"  # a kind by its name alone
        sections[name] |= {"type": ["object", "string"], "pattern": one, "minProperties": 1, "maxProperties": 1}


def _open(mapping: Schema, named: Mapping[str, Schema], below: Schema) -> None:
    """Give a mapping by dotted field its known names; below free keys any name goes."""
    mapping["properties"] = dict(named)
    mapping["patternProperties"] = {f"^{name.replace('.', '[.]')}[.].+": below for name in FREE}
    mapping["additionalProperties"] = False


def _fields(schema: Schema, sections: Mapping[str, Schema], prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield the recipe's fields by dotted name, sections included."""
    options = [schema, *schema.get("anyOf", ()), *schema.get("allOf", ())]
    held = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
    for name, field in sections[held[0]].get("properties", {}).items() if held else ():
        yield prefix + name, field
        yield from _fields(field, sections, f"{prefix}{name}.")


def _used(schema: Schema, sections: Mapping[str, Schema]) -> set[str]:
    """Return the names of the definitions that a schema refers to, in the end."""
    found: set[str] = set()
    pending = [schema]
    while pending:
        for node in _nodes(pending.pop()):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                pending.append(sections[name])
    return found


def _nodes(schema: Any) -> Iterator[Schema]:
    """Yield all mappings of a schema."""
    if isinstance(schema, dict):
        yield schema
    for child in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from _nodes(child)
