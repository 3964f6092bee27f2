"""Arguments that several commands share, and how a shell completes them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ikd.visible import visible


def names_of_sweeps(incomplete: str) -> list[str]:
    """Return the sweeps whose names begin so; for a shell, so an error is no answer."""
    from ikd.home import home

    found = (home() / "sweeps").glob("*/sweep.yaml")  # nothing is loaded: a shell waits
    return sorted(name for path in found if (name := path.parent.name).startswith(incomplete))


def numbers_of_trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the trials of the sweep that was typed before whose numbers begin so."""
    from ikd.home import home

    folders = (home() / "sweeps" / str(ctx.params.get("name", "")) / "trials").glob("*")
    numbers = sorted(int(path.name) for path in folders if path.name.isdigit())
    return [str(number) for number in numbers if str(number).startswith(incomplete)]


def names_of_recipes(incomplete: str) -> list[str]:
    """Return the shipped recipes whose names begin so."""
    from ikd.config import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def expanded(path: Path | None) -> Path | None:
    """Return a path with its `~` expanded: a shell leaves it where it is quoted, or stands behind a `=`."""
    return None if path is None else path.expanduser()


def expanded_text(paths: str | None) -> str | None:
    """Return `PATH`, or `PATH,PATH`, with each `~` expanded."""
    return None if paths is None else ",".join(map(os.path.expanduser, paths.split(",")))


def folder_to_make(path: Path | None) -> Path | None:
    """Return the folder that a command is to write into, `expanded`.

    Raises:
        BadInput: a file is in its way.
    """
    from ikd.errors import refuse

    path = expanded(path)
    in_way = next((one for one in (path, *path.absolute().parents) if one.exists()), None) if path is not None else None
    if path is not None and in_way is not None and not in_way.is_dir():
        refuse("--to", f"must be a folder, and {in_way} is a file", str(path))
    return path


def refuse_unknown(*names: str) -> None:
    """Refuse a name of no sweep at once, before a command loads what takes long.

    Raises:
        BadInput: names the nearest, or those that are there.
    """
    from ikd.sweep import existing_folder

    for name in names:
        existing_folder(name)


class WarmStarted(TyperCommand):
    """A command whose `--warm-start` takes several names at once; a search-space file after them is not one of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write `--warm-start A B` as click reads it: the option once for each name."""
        spread: list[str] = []
        listing = False  # what stands here is a further name
        for arg in args:
            listing = listing and not arg.startswith("-") and not arg.endswith((".yaml", ".yml"))
            spread += ["--warm-start", arg] if listing else [arg]
            option = spread[-2] if len(spread) > 1 else ""
            listing = listing or option == "--warm-start" or arg.startswith("--warm-start=")
        return super().parse_args(ctx, spread)


Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Fix a recipe field, e.g. --set data.root=my/coco. Repeatable.")
]
Name = Annotated[str, typer.Argument(help="Name of a sweep.", autocompletion=names_of_sweeps)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs; docs/commands.md lists its fields.")]


def echo(text: str, *, err: bool = False) -> None:
    """Print lines; what data, recipes and sweeps are called is no command to the terminal."""
    typer.echo(visible(text), err=err)


def print_json(content: Any) -> None:
    """Print plain values as JSON, alone on standard output."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))
