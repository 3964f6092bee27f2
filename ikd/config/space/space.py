"""The search space that a person works with: checked against its recipe, counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ikd.config.document import Document
from ikd.config.recipe.recipe import Recipe
from ikd.config.space.checks import check_fixed, check_space
from ikd.config.space.counting import COUNTED, fulfilled_or_why_not, number_of_settings, reader
from ikd.config.space.sections import SpaceSections
from ikd.errors import ConfigError


class SearchSpace(SpaceSections):
    """Which recipe fields vary, how, and what is optimised."""

    def checked(
        self, recipe: Recipe, document: Document | None = None, fixed: Mapping[str, Any] | None = None
    ) -> SearchSpace:
        """Check the space against its recipe and return it in plain values, ready to be searched.

        Args:
            recipe: the base.
            document: the file of the space, for lines in messages; None is a space that was made by a program.
            fixed: parameters that shall not vary, and their values (`--set`).

        Raises:
            ConfigError: lists every fault.
        """
        document = document or Document("(space)", {})
        problems = check_space(self, recipe, document)
        if problems:
            raise ConfigError(problems)
        space = self.resolved(recipe).with_fixed(fixed or {})
        problems = check_fixed(space, recipe, document, fixed or {})
        if problems:
            raise ConfigError(problems)
        return space

    def allows(self, recipe: Recipe) -> bool:
        """Tell whether a trial's recipe fulfils the constraints; one that cannot be computed is not fulfilled."""
        return all(fulfilled_or_why_not(rule, recipe.value) is True for rule in self.rules)

    def num_configurations(self, recipe: Recipe | None = None) -> float:
        """Return how many distinct configurations the space holds; infinite with a continuous range.

        Args:
            recipe: the base, to leave out what the constraints refuse, where there are at most `COUNTED`; without it
                constraints are not looked at.
        """
        total = number_of_settings(self)
        if recipe is None or not self.constraints or total > COUNTED:
            return total
        reads = (reader(self, recipe, values) for values in self.settings(self.parameters))
        return sum(all(fulfilled_or_why_not(rule, read) is True for rule in self.rules) for read in reads)
