"""What is looked at, and where: the data of a student, and its recipe on whatever machine."""

from __future__ import annotations

from ikd.config import Recipe
from ikd.data import DataFiles, DataRecord
from ikd.errors import refuse


def files_as_noted(recipe: Recipe, known: DataRecord | None) -> DataFiles:
    """Return the data of a recipe.

    Args:
        recipe: whose they are.
        known: what its student was trained and validated on; None where that was not noted.

    Raises:
        BadInput: they are not there, or others.
    """
    files = DataFiles.of(recipe)
    if known is not None and (changes := files.seen.changes_since(known)):
        rule = "must be the data set that the student was trained and validated on"
        refuse(f"{files.train} and {files.val}", rule, "; ".join(changes), "put it back as it was")
    return files


def anywhere(recipe: Recipe) -> Recipe:
    """Return a recipe that runs on whatever this machine has: a student is looked at anywhere."""
    return recipe if recipe.device == "cpu" else recipe.with_values({"device": "auto"})
