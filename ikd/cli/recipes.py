"""The commands that look at recipes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from ikd.cli.arguments import Sets, echo, names_of_recipes


def list_recipes() -> None:
    """List the shipped recipes, those of papers by table.

    Example: ikd recipe list
    """
    from ikd.config import recipe_groups
    from ikd.progress import wide_console

    console = wide_console()
    for title, recipes in recipe_groups().items():
        room = max(map(len, recipes))
        console.print(Text(title, style="bold"))
        for name, description in recipes.items():
            line = f"  {name:<{room}}  {description}"
            console.print(Text(line if len(line) <= console.width else f"  {name}\n      {description}"))
        console.print()


def show_recipe(
    recipe: Annotated[
        str, typer.Argument(help="Shipped recipe name, or a recipe file.", autocompletion=names_of_recipes)
    ],
    sets: Sets = None,
) -> None:
    """Print all values of a recipe, and who says each.

    By file and line; what no file says is a default.

    Example: ikd recipe show small_r18 --set distill.host=mgd
    """
    from ikd.config import parse_sets, recipe_lines

    lines = recipe_lines(recipe, parse_sets(sets or []))
    texts = [f"{field}: {value}" for field, value, _ in lines]
    room = min(60, max(map(len, texts)))
    for text, (_, _, source) in zip(texts, lines, strict=True):
        echo(f"{text:<{room}}  # {source}")
