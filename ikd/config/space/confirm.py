"""How much of a sweep's budget trains again with other seeds."""

from __future__ import annotations

from dataclasses import dataclass

from ikd.config.recipe.sections import Anchor
from ikd.config.space.sections import SpaceSections

FEW, SMALL = 16, 30
"""Trials below which nothing is kept apart, and below which little is and nothing repeated."""
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


def shares_of(space: SpaceSections) -> Shares:
    """Return what is done besides the search: what the space says, else what its budget has room for."""
    confirm, trials = space.budget.confirm, space.budget.trials
    sides = 1 + any(one in RIVALS for one in space.anchors)
    repeats = 0.0 if trials < SMALL or space.costs or unrepeatable(space) else SHARE
    apart = 0 if trials < FEW or unrepeatable(space) else APART_OF_SMALL if trials < SMALL else APART
    repeats = repeats if confirm.share is None else confirm.share
    return Shares(repeats, apart if confirm.apart is None else confirm.apart, sides)
