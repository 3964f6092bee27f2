"""The commands that look at recipes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ikd.cli.arguments import Sets, names_of_recipes


def list_recipes() -> None:
    """List the shipped recipes with a line each, those of papers by table.

    Example: ikd recipe list
    """
    from ikd.config import recipe_groups
    from ikd.progress import wide_console

    console = wide_console()
    for title, recipes in recipe_groups().items():
        table = Table(
            title=Text(title, style="bold"), title_justify="left", box=None, show_header=False, pad_edge=False
        )
        for name, description in recipes.items():
            table.add_row(Text(name, no_wrap=True), Text(description))
        console.print(table)
        console.print()


def show_recipe(
    recipe: Annotated[
        str, typer.Argument(help="Shipped recipe name, or a recipe file.", autocompletion=names_of_recipes)
    ],
    sets: Sets = None,
) -> None:
    """Print all values of a recipe, and which file and line say each; what no file says is a default.

    Example: ikd recipe show small_r18 --set distill.host=mgd
    """
    from ikd.config import parse_sets, recipe_lines

    lines = recipe_lines(recipe, parse_sets(sets or []))
    texts = [f"{field}: {value}" for field, value, _ in lines]
    room = min(60, max(map(len, texts)))
    for text, (_, _, source) in zip(texts, lines, strict=True):
        typer.echo(f"{text:<{room}}  # {source}")
