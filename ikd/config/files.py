"""From files and `--set` to checked recipes, search spaces and runners."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.config.document import Document, Location, parse_scalar, printable, read_yaml
from ikd.config.recipe.fields import as_json
from ikd.config.recipe.recipe import VALUES, Recipe, checked_recipe, replaced
from ikd.config.runner import Runner
from ikd.config.section import validate
from ikd.config.space.include import space_document
from ikd.config.space.space import SearchSpace
from ikd.errors import BadInput, ConfigError, Problem

SHIPPED = Path(__file__).resolve().parents[1] / "recipes"


@dataclass(frozen=True)
class SweepFiles:
    """The three files of a sweep, checked."""

    space: SearchSpace
    recipe: Recipe
    runner: Runner


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_recipe(name: str | Path, values: Mapping[str, Any] | None = None) -> Recipe:
    """Load a shipped recipe by name, or a recipe file by path, then replace dotted fields.

    A recipe file may start from another one: `base: NAME` (shipped, or a path beside the file), then only what differs.
    Relative paths inside are taken from the current folder, as mmdet does.

    Raises:
        ConfigError: lists every fault with file, line, field, value and what would be right.
    """
    document = _recipe_document(_recipe_path(str(name)))
    recipe = checked_recipe(document)
    return replaced(recipe, values, "--set") if values else recipe


def load_runner(path: str | Path) -> Runner:
    """Load a runner file.

    Raises:
        ConfigError: lists every fault.
    """
    return validate(Runner, read_yaml(Path(path)))


def load_sweep(
    space: str | Path, runner: str | Path | None = None, values: Mapping[str, Any] | None = None
) -> SweepFiles:
    """Load the three files of a sweep and check them against each other.

    Args:
        space: search-space file; it names the recipe.
        runner: runner file; None is one trial at a time on this machine.
        values: recipe fields fixed from outside (`--set`); they win over the space's `set`, and a searched field is no
            longer varied (by the short name of a choice, or by value).

    Raises:
        ConfigError: lists every fault.
    """
    document = space_document(Path(space))
    parsed = validate(SearchSpace, document)
    loaded_runner = load_runner(runner) if runner is not None else Runner()
    values = values or {}
    _refuse_followers(parsed, values)
    fixed = {name: plain_value for name, plain_value in as_json(values).items() if name in parsed.parameters}
    try:
        recipe = load_recipe(parsed.recipe)
        recipe = recipe.with_values(parsed.set) if parsed.set else recipe
    except ConfigError as error:
        raise ConfigError([_seen_from(document, problem) for problem in error.problems]) from error
    others = {name: value for name, value in values.items() if name not in fixed}
    recipe = replaced(recipe, others, "--set") if others else recipe
    return SweepFiles(parsed.checked(recipe, document, fixed), recipe, loaded_runner)


def _refuse_followers(space: SearchSpace, values: Mapping[str, Any]) -> None:
    """Refuse to fix a field that takes another one's value: the other one is to be fixed."""
    owners = {field: name for name, domain in space.parameters.items() for field in domain.also}
    clash = [(name, owners[name]) for name in values if name in owners and name not in space.parameters]
    if clash:
        rule = "is searched by the space together with {0}; set {0}"
        raise ConfigError([Problem("--set", name, None, rule.format(owner)) for name, owner in clash])


def parse_sets(assignments: Sequence[str]) -> dict[str, Any]:
    """Parse `field=value` texts of the command line.

    Raises:
        BadInput: no `=`, or a value that is no YAML.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"--set: must be field=value, but got {text!r}")
        try:
            values[name.strip()] = parse_scalar(value)
        except ValueError as error:
            raise BadInput(f"--set: {name.strip()}: the value must be YAML, but got {value!r} ({error})") from error
    return values


def _recipe_path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    if name not in recipe_names():
        near = difflib.get_close_matches(name, recipe_names(), n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        else:
            tables = [one for one in recipe_names() if "_table" in one]
            others = [one for one in recipe_names() if one not in tables]
            hint = f"the shipped ones are {', '.join(others)}, and {len(tables)} rows of papers' tables in {SHIPPED}"
        raise ConfigError(
            [Problem(printable(name), "recipe", name, f"must be a shipped recipe or a path ending in .yaml; {hint}")]
        )
    return SHIPPED / f"{name}.yaml"


def _recipe_document(path: Path, seen: tuple[Path, ...] = ()) -> Document:
    document = read_yaml(path)
    base = document.data.pop("base", None)
    if base is None:
        return document
    if not isinstance(base, str):
        raise ConfigError([document.problem(("base",), base, "must be a recipe name or a path")])
    beside = path.parent / base
    try:
        parent = beside if base.endswith((".yaml", ".yml")) and os.path.isfile(beside) else _recipe_path(base)
    except ConfigError as error:
        raise ConfigError([document.problem(("base",), base, error.problems[0].rule)]) from error
    if not os.path.isfile(parent):
        raise ConfigError([document.problem(("base",), base, "must be a shipped recipe or a file that is there")])
    if parent.resolve() in [*(one.resolve() for one in seen), path.resolve()]:
        raise ConfigError([document.problem(("base",), base, "must not lead back to this recipe")])
    return document.over(_recipe_document(parent, (*seen, path)))


def _seen_from(document: Document, problem: Problem) -> Problem:
    """Give a fault in the space's `recipe` or `set` entry its place in the space file."""
    if problem.file == VALUES:
        location: Location = ("set", problem.field)
        return document.problem(location, problem.value, problem.rule)
    name = document.data["recipe"]
    if problem.file == printable(name) and (
        problem.field == "recipe" or (problem.field, problem.line) == ("(file)", None)
    ):
        return document.problem(("recipe",), name, problem.rule)
    return problem
