"""How much of a sweep's budget trains again with other seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ikd.config.recipe.recipe import Recipe
from ikd.config.recipe.sections import Anchor
from ikd.config.space.sections import SpaceSections

FEW, SMALL = 16, 30
"""Trainings below which nothing is kept apart, and below which little is and nothing repeated."""
SHARE, APART, APART_OF_SMALL = 0.1, 3, 2
"""Share of repeats, and trainings kept apart of each side, where the space does not say."""
RIVALS: tuple[Anchor, ...] = ("student_alone", "inherit_alone", "equal_budget")
"""Anchors that a search has to beat: what the same epochs bring without it. Published values are a point to search."""


@dataclass(frozen=True)
class Shares:
    """What is done besides the search.

    Attributes:
        repeats: share of the budget that trains configurations again, to choose.
        apart: trainings kept apart of each side.
        sides: the chosen configuration, and an anchor where the space has one to beat.
    """

    repeats: float
    apart: int
    sides: int

    @property
    def acts(self) -> bool:
        """Whether there is anything besides the search."""
        return bool(self.repeats or self.apart)


def unrepeatable(space: SpaceSections) -> str:
    """Return why a configuration of a space cannot be trained again with another seed; empty where it can."""
    if space.scheduler.kind == "pbt":
        return "values of a population change while it trains"
    if space.sampler.kind == "grid":
        return "a full factorial has repeats of its own (sampler.grid.repeats)"
    return "the seed is searched" if "seed" in space.fields else ""


def room_fault(space: SpaceSections, recipe: Recipe) -> tuple[str, Any, str] | None:
    """Return what of `budget.confirm` the budget does not hold: field, value and rule; None where it holds all of it.

    Only what the space says itself is judged: the shares that we take follow from the budget.
    """
    confirm, shares, budget = space.budget.confirm, shares_of(space, recipe.total_epochs), space.budget
    if not (confirm.share or confirm.apart):
        return None
    trainings, named = budget.trainings(recipe.total_epochs), f"the {budget.trials} trials of budget.trials"
    if trainings < budget.trials:
        named = f"the {trainings} trainings that the {budget.epochs} epochs of budget.epochs are"
    repeats, least = round(shares.repeats * trainings), len(space.anchors) + 1
    besides = repeats + shares.apart * shares.sides
    if confirm.share and not repeats:
        return "share", confirm.share, f"must be 0, or large enough for one of {named} ({1 / max(trainings, 1):.2g})"
    if trainings - besides >= least:
        return None
    field, value = ("apart", confirm.apart) if confirm.apart else ("share", confirm.share)
    rule = f"must leave at least {least} of {named} for the search, anchors included, and "
    return field, value, rule + _takes(repeats, shares)


def _takes(repeats: int, shares: Shares) -> str:
    parts = [f"{repeats} repeat{'s' * (repeats > 1)}"] * bool(repeats)
    sides = f"{shares.sides} side{'s' * (shares.sides > 1)}"
    parts += [f"{shares.apart} kept apart of each of {sides}"] * bool(shares.apart)
    return f"takes {repeats + shares.apart * shares.sides}: {' and '.join(parts)}"


def shares_of(space: SpaceSections, epochs: int) -> Shares:
    """Return what is done besides the search: what the space says, else what its budget has room for.

    Args:
        space: holds the budget.
        epochs: of a training.
    """
    confirm, trainings = space.budget.confirm, space.budget.trainings(epochs)
    sides = 1 + any(one in RIVALS for one in space.anchors)
    repeats = 0.0 if trainings < SMALL or space.costs or unrepeatable(space) else SHARE
    apart = 0 if trainings < FEW or unrepeatable(space) else APART_OF_SMALL if trainings < SMALL else APART
    repeats = repeats if confirm.share is None else confirm.share
    return Shares(repeats, apart if confirm.apart is None else confirm.apart, sides)
