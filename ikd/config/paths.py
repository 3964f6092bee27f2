"""Where the paths of a file lead: a relative one starts from the folder of the file that says it.

On the command line and in a program it starts from the current folder. Every path is made absolute at once, so that a
worker in another folder, and the same command given elsewhere, find the same file. Names are no paths: shipped recipes,
`mmdet::...`, `ikd::...`, addresses.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ikd.config.document import Document, Location
from ikd.errors import ConfigError, Problem

Place = Callable[[Location, str], str]
"""From the place of a path in its file, and the path, to the absolute one."""
_FILE_DATABASE = "sqlite:///"


def is_recipe_path(name: str) -> bool:
    """Tell whether a recipe is named by its path, rather than a shipped one by its name."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def absolute(text: str, folder: str | Path | None = None) -> str:
    """Return a path from `folder`, None being the current one; an absolute path as it is, and so a name or address."""
    if "::" in text or "://" in text or not text:
        return text
    written = os.path.expanduser(text)
    return written if os.path.isabs(written) else os.path.abspath(os.path.join(folder or os.getcwd(), written))


def absolute_database(uri: str, folder: str | Path | None = None) -> str:
    """Return a database's address with the path of its file made absolute; every other address as it is."""
    path = uri.removeprefix(_FILE_DATABASE)
    return _FILE_DATABASE + absolute(path, folder) if path != uri and "::" not in path else uri


def looked_up(text: str, folder: Path) -> str:
    """Return a path that a file in `folder` says as an absolute one.

    Raises:
        ValueError: nothing is there, but something is where the path would lead from the current folder.
    """
    found, here = absolute(text, folder), absolute(text)
    if found != here and not os.path.exists(found) and os.path.exists(here):
        write = os.path.relpath(here, os.path.abspath(folder))
        rule = f"must be a path from the folder of this file: nothing is at {found}, where it was looked for; write"
        raise ValueError(f"{rule} {write} for {here}")
    return found


def points(location: Location) -> bool:
    """Tell whether a recipe's field holds a path, where its value is no name."""
    if location == ("data", "root"):
        return True
    if location[:1] == ("student",):
        below = location[1:]
    elif location[:2] == ("teachers", "available"):
        below = location[3:]
    else:
        return False
    if below[:1] in (("config",), ("overrides",)) and len(below) > 1:
        return re.search(r"(^|\.)init_cfg\.checkpoint$", ".".join(map(str, below))) is not None
    return below in (("config",), ("checkpoint",), ("recipe",))


def placed(value: Any, location: Location, place: Place) -> Any:
    """Return a recipe, or what stands at `location` in one, with its paths put in their place; plain values."""
    if isinstance(value, Mapping):
        return {key: placed(one, (*location, key), place) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(placed(one, location, place) for one in value)
    if not isinstance(value, str) or not points(location):
        return value
    named = location[-1] == "recipe" and not is_recipe_path(value)
    return value if named else place(location, value)


def from_here(name: str, value: Any, here: str | Path | None = None) -> Any:
    """Return the value of a dotted recipe field with paths from `here`, None being the current folder."""
    return placed(value, tuple(name.split(".")), lambda _, text: absolute(text, here))


def recipe_in_place(document: Document, folder: Path) -> Document:
    """Return a recipe's document with the paths that it says from `folder`.

    Raises:
        ConfigError: a path leads to something from the current folder alone.
    """
    return _in_place(document, lambda place: placed(document.data, (), place), folder)


def space_in_place(document: Document, folder: Path) -> Document:
    """Return a search space's document with the paths that it says from `folder`: its recipe, fixed and varied fields.

    Raises:
        ConfigError: a path leads to something from the current folder alone.
    """

    def put(place: Place) -> dict[str, Any]:
        data = dict(document.data)
        recipe = data.get("recipe")
        if isinstance(recipe, str) and is_recipe_path(recipe):
            data["recipe"] = place(("recipe",), recipe)
        if isinstance(fixed := data.get("set"), dict):
            data["set"] = {name: _valued(name, value, ("set", name), place) for name, value in fixed.items()}
        if isinstance(varied := data.get("parameters"), dict):
            data["parameters"] = {name: _domain(name, one, varied, place) for name, one in varied.items()}
        return data

    return _in_place(document, put, folder)


def runner_in_place(document: Document, folder: Path) -> Document:
    """Return a runner's document with the paths that it says from `folder`.

    Raises:
        ConfigError: a path leads to something from the current folder alone.
    """

    def put(place: Place) -> dict[str, Any]:
        data = dict(document.data)
        if isinstance(data.get("storage"), str):
            data["storage"] = place(("storage",), data["storage"])
        if isinstance(ray := data.get("ray"), dict) and isinstance(ray.get("temp"), str):
            data["ray"] = {**ray, "temp": place(("ray", "temp"), ray["temp"])}
        if isinstance(tracking := data.get("tracking"), dict) and isinstance(uri := tracking.get("uri"), str):
            data["tracking"] = {**tracking, "uri": absolute_database(uri, folder)}
        return data

    return _in_place(document, put, folder)


def _in_place(document: Document, put: Callable[[Place], dict[str, Any]], folder: Path) -> Document:
    problems: list[Problem] = []

    def place(location: Location, text: str) -> str:
        try:
            return looked_up(text, folder)
        except ValueError as error:
            problems.append(document.problem(location, text, str(error)))
            return text

    data = put(place)
    if problems:
        raise ConfigError(problems)
    return dataclasses.replace(document, data=data)


def _valued(name: str, value: Any, written: Location, place: Place) -> Any:
    """Return the value of a dotted field, or a choice of several, which stands at `written` in its file."""
    field = tuple(name.split("."))
    if written[-1] == "choice" and isinstance(value, dict):  # by their short names
        return {key: placed(one, field, lambda _, text: place(written, text)) for key, one in value.items()}
    return placed(value, field, lambda _, text: place(written, text))


def _domain(name: str, domain: Any, parameters: Mapping[str, Any], place: Place) -> Any:
    """Return the domain of a varied field; what its conditions and its prior name are values of choices, too."""
    if not isinstance(domain, dict):
        return domain
    data, written = dict(domain), ("parameters", name)
    data |= {"choice": _valued(name, data["choice"], (*written, "choice"), place)} if "choice" in data else {}

    def same(parent: str, value: Any) -> Any:
        values = _values_of(parameters.get(parent))
        if isinstance(value, list) and value not in values:
            return [same(parent, one) for one in value]
        return _valued(parent, value, (*written, "when"), place) if value in values else value

    data |= {"when": _condition(data["when"], same)} if "when" in data else {}
    if isinstance(prior := data.get("prior"), dict) and "around" in prior:
        data["prior"] = {**prior, "around": same(name, prior["around"])}
    return data


def _values_of(domain: Any) -> list[Any]:
    """Return the values of a choice as its file says them, without their short names."""
    values = domain.get("choice") if isinstance(domain, dict) else None
    values = list(values.values()) if isinstance(values, dict) else values
    return values if isinstance(values, list) else []


def _condition(content: Any, same: Callable[[str, Any], Any]) -> Any:
    if isinstance(content, list):
        return [_condition(one, same) for one in content]
    if not isinstance(content, dict):
        return content
    groups = ("any", "all", "not")
    return {key: _condition(one, same) if key in groups else same(key, one) for key, one in content.items()}
