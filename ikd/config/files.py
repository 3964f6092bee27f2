"""From files and `--set` to checked recipes, search spaces and runners."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ikd.config.document import Document, Location, parse_scalar, printable, read_yaml
from ikd.config.paths import from_here, is_recipe_path, looked_up, recipe_in_place, runner_in_place
from ikd.config.recipe.fields import as_json, unknown_field
from ikd.config.recipe.recipe import VALUES, Recipe, checked_recipe, replaced
from ikd.config.replacing import without_idle_arguments
from ikd.config.runner import Runner
from ikd.config.section import validate
from ikd.config.space.checks import unsearchable
from ikd.config.space.include import space_document
from ikd.config.space.space import SearchSpace
from ikd.errors import BadInput, ConfigError, Problem

Loaded = TypeVar("Loaded")
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

    A recipe file may start from another one: `base: NAME` (shipped, or a path), then only what differs. Relative paths
    start from the folder of the file that says them; those of `values`, and of a shipped recipe, which lies in no
    folder of yours, from the current one.

    Raises:
        ConfigError: lists every fault with file, line, field, value and what would be right.
    """
    recipe = checked_recipe(recipe_document(name))
    return replaced(recipe, values, "--set") if values else recipe


def load_runner(path: str | Path) -> Runner:
    """Load a runner file.

    Raises:
        ConfigError: lists every fault.
    """
    path = Path(path).expanduser()
    return validate(Runner, runner_in_place(read_yaml(path), path.parent))


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
    document = space_document(Path(space).expanduser())
    values = as_json(values or {})
    faults = _Faults(document)
    parsed = faults.caught(lambda: validate(SearchSpace, document))
    loaded_runner = faults.caught(lambda: load_runner(runner) if runner is not None else Runner())
    varied = parsed.parameters if parsed is not None else faults.sections("parameters")
    fixed = {name: _fixed(varied[name], name, value) for name, value in values.items() if name in varied}
    recipe = faults.caught(
        lambda: _recipe_of(document, {name: one for name, one in values.items() if name not in fixed})
    )
    if parsed is None or loaded_runner is None or recipe is None:
        faults.add_unknown_names()
        raise ConfigError(faults.problems)
    _refuse_followers(parsed, values)
    return SweepFiles(parsed.checked(recipe, document, fixed), recipe, loaded_runner)


def load_space(space: str | Path, values: Mapping[str, Any] | None = None) -> SearchSpace:
    """Load a search-space file, checked against the recipe that it names.

    That recipe is `load_recipe(space.recipe, space.set)` of what is returned; `run_sweep` takes both.

    Args:
        space: search-space file.
        values: recipe fields fixed from outside, see `load_sweep`.

    Raises:
        ConfigError: lists every fault.
    """
    return load_sweep(space, values=values).space


class _Faults:
    """The faults of several files, so that all are told at once."""

    def __init__(self, document: Document) -> None:
        self.problems: list[Problem] = []
        self._document = document

    def caught(self, load: Callable[[], Loaded]) -> Loaded | None:
        """Return what is loaded, or None where it has faults."""
        try:
            return load()
        except ConfigError as error:
            self.problems += [one for one in error.problems if one not in self.problems]
            return None

    def sections(self, field: str) -> dict[str, Any]:
        """Return a mapping of the space's file, whatever its content; empty where it is none."""
        content = self._document.data.get(field)
        return content if isinstance(content, dict) else {}

    def add_unknown_names(self) -> None:
        """Add the parameters and fixed fields that no recipe has: that can be told whatever else is wrong."""
        for field, rule_of in (("parameters", unsearchable), ("set", unknown_field)):
            for name in self.sections(field):
                rule = rule_of(name)
                problem = self._document.problem((field, name), None, rule or "")
                told = {(one.file, one.line, one.rule) for one in self.problems}
                if rule is not None and (problem.file, problem.line, rule) not in told:
                    self.problems.append(problem)


def _fixed(domain: Any, name: str, value: Any) -> Any:
    """Return the value that a varied field is fixed to, by its short name or as it is, with paths from here."""
    named = isinstance(value, str) and value in (getattr(domain, "aliases", None) or ())
    return value if named else from_here(name, value)


def _recipe_of(document: Document, values: Mapping[str, Any]) -> Recipe | None:
    """Return the recipe of a space's file, with what it sets and what is set from outside.

    None where the file names none, or sets nothing that can be set.
    """
    name, fixed = document.data.get("recipe"), document.data.get("set", {})
    if not isinstance(name, str) or not isinstance(fixed, dict):
        return None
    try:
        recipe = load_recipe(name)
        recipe = recipe.with_values(fixed) if fixed else recipe
    except ConfigError as error:
        raise ConfigError([_seen_from(document, problem) for problem in error.problems]) from error
    return replaced(recipe, values, "--set") if values else recipe


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
        BadInput: no `=`, a value that is no YAML of one line, or one field with two values.
    """
    values: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise BadInput(f"--set: must be field=value, but got {text!r}")
        if "\n" in value.strip():
            raise BadInput(f"--set: {name}: must be one line, YAML would make a blank of its break, but got {value!r}")
        try:
            parsed = parse_scalar(value)
        except ValueError as error:
            raise BadInput(f"--set: {name}: the value must be YAML, but got {value!r} ({error})") from error
        if name in values and values[name] != parsed:
            raise BadInput(f"--set: {name}: must be given once, but got {values[name]!r} and {parsed!r}")
        values[name] = parsed
    return values


def _recipe_path(name: str) -> Path:
    if is_recipe_path(name):
        return Path(name).expanduser()
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


def recipe_document(name: str | Path) -> Document:
    """Return what a recipe's file says, laid over what it starts from; see `load_recipe`.

    Raises:
        ConfigError: a file is missing or no YAML, or leads back to itself.
    """
    return _document(_recipe_path(str(name)))


def _document(path: Path, seen: tuple[Path, ...] = ()) -> Document:
    document = recipe_in_place(read_yaml(path), Path() if path.parent == SHIPPED else path.parent)
    base = document.data.pop("base", None)
    if base is None:
        return document
    if not isinstance(base, str):
        raise ConfigError([document.problem(("base",), base, "must be a recipe name or a path")])
    try:
        parent = Path(looked_up(base, path.parent)) if is_recipe_path(base) else _recipe_path(base)
    except ConfigError as error:
        raise ConfigError([document.problem(("base",), base, error.problems[0].rule)]) from error
    except ValueError as error:
        raise ConfigError([document.problem(("base",), base, str(error))]) from error
    if not os.path.isfile(parent):
        raise ConfigError([document.problem(("base",), base, "must be a shipped recipe or a file that is there")])
    if parent.resolve() in [*(one.resolve() for one in seen), path.resolve()]:
        raise ConfigError([document.problem(("base",), base, "must not lead back to this recipe")])
    below = _document(parent, (*seen, path))
    return document.over(replace(below, data=without_idle_arguments(below.data, document.data)))


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
