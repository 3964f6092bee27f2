"""The list of shipped recipes, as Markdown from their files."""

from __future__ import annotations

from ikd.config import recipe_groups

BEGIN = """# Shipped recipes

`ikd recipe list` prints this list, `ikd recipe show NAME` every value of one; each can be the `base` of a recipe of
yours. [Which recipe fits](../howto/which.md) which student says where to begin. Recipes of papers are called by the
table of the paper: IKD is Liang et al. (ACM MM 2023), DFMSD arXiv 2407.13147."""


def page() -> str:
    """Return the page: the recipes in their groups, each with its description."""
    parts = [BEGIN]
    for title, recipes in recipe_groups().items():
        rows = [f"| `{name}` | {said} |" for name, said in recipes.items()]
        parts.append("\n".join([f"## {title}\n", "| recipe | what |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"
