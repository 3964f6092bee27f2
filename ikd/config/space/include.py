"""Reading a search space that starts from other ones: `include: [FILE, ...]`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from ikd.config.document import Document, Location, read_yaml
from ikd.config.paths import space_in_place
from ikd.config.space.domain import KINDS
from ikd.errors import ConfigError, Problem

INCLUDE = "include"


def space_document(path: Path, seen: tuple[Path, ...] = ()) -> Document:
    """Read a space file laid over those that it includes, in their order.

    Mappings merge, everything else replaces; a scheduler, sampler or parameter of another kind replaces the whole, and
    a parameter written as null is taken out. A field that this file varies is no longer set by those that it includes.

    Raises:
        ConfigError: an included file is missing, is no YAML, or leads back to this one.
    """
    document = space_in_place(read_yaml(path), path.parent)
    names = document.data.pop(INCLUDE, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError([document.problem((INCLUDE,), names, "must be a list of search-space files")])
    chain = (*seen, path.resolve())
    problems = [problem for index in range(len(names)) for problem in _faults(document, names, index, chain)]
    if problems:
        raise ConfigError(problems)
    under = Document(document.file, {})
    for name in names:
        under = _over(space_document(path.parent / os.path.expanduser(name), chain), under)
    return _over(document, under) if names else document


def _faults(document: Document, names: list[str], index: int, chain: tuple[Path, ...]) -> list[Problem]:
    path, place = chain[-1].parent / os.path.expanduser(names[index]), (INCLUDE, index)
    if names[index] in names[:index]:
        return [document.problem(place, names[index], "must not be included twice")]
    if not os.path.isfile(path):
        rule = f"must be a file that is there, by its path from this file; nothing is at {path}"
        return [document.problem(place, names[index], rule)]
    if path.resolve() in chain:
        return [document.problem(place, names[index], "must not lead back to this file")]
    return []


def _over(document: Document, under: Document) -> Document:
    """Lay a space over another one."""
    kept: dict[str, Any] = dict(under.data)
    for location in _replaced(document.data, under.data):
        owner = kept
        for part in location[:-1]:
            owner[str(part)] = owner = dict(owner[str(part)])
        owner.pop(str(location[-1]))
    if isinstance(fixed := kept.get("set"), dict):
        written = document.data.get("parameters")
        varied = written if isinstance(written, dict) else {}
        kept["set"] = {name: value for name, value in fixed.items() if varied.get(name) is None}
    merged = document.over(dataclasses.replace(under, data=kept))
    parameters = merged.data.get("parameters")
    if isinstance(parameters, dict):
        left = {name: domain for name, domain in parameters.items() if domain is not None}
        merged = dataclasses.replace(merged, data={**merged.data, "parameters": left})
    return merged


def _replaced(data: dict[str, Any], under: dict[str, Any]) -> list[Location]:
    """Return the places where `data` has another kind than what lies underneath."""
    sections: list[tuple[Location, Any, Any]] = [
        ((name,), data.get(name), under.get(name)) for name in ("scheduler", "sampler")
    ]
    upper, lower = data.get("parameters"), under.get("parameters")
    if isinstance(upper, dict) and isinstance(lower, dict):
        sections += [(("parameters", name), upper[name], lower[name]) for name in upper if name in lower]
    found: list[Location] = []
    for place, mine, theirs in sections:
        if isinstance(mine, dict) and isinstance(theirs, dict):
            kinds = set(KINDS) if place[0] == "parameters" else {*mine, *theirs}
            above, below = kinds & set(mine), kinds & set(theirs)
            if above and below and above != below:
                found.append(place)
    return found
