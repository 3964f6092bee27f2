"""How much trials of earlier sweeps helped: whether what they make one expect agrees with what is trained now."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ikd.config import Recipe, SearchSpace
from ikd.sweep.effects.coordinates import Coordinates
from ikd.sweep.effects.model import Effects
from ikd.sweep.effects.told import objective, told_by
from ikd.sweep.records.ranks import LEAST, spearman
from ikd.sweep.records.trials import TrialRecord

LITTLE = 0.3
"""Below this rank correlation a sweep would have found as much without the earlier ones."""


def said_of_earlier(
    space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], earlier: Sequence[TrialRecord]
) -> list[str]:
    """Return a line for each earlier sweep: how what its trials alone expect ranks the trainings of this search.

    Args:
        space: resolved.
        recipe: the base.
        records: all trials of this sweep.
        earlier: trials of others, each with the name of its own.
    """
    searched = [one for one in records if one.role == "search" and one.in_space and one.state == "finished"]
    searched = [one for one in searched if math.isfinite(objective(space, one))]
    names = dict.fromkeys(one.name for one in earlier)
    return [_said(space, recipe, searched, [one for one in earlier if one.name == name], name) for name in names]


def _said(
    space: SearchSpace, recipe: Recipe, searched: Sequence[TrialRecord], theirs: Sequence[TrialRecord], name: str
) -> str:
    line = f"warm start: {len(theirs)} trials of {name}"
    told = told_by(space, [], recipe.total_epochs, theirs)
    if told is None:
        return f"{line} say nothing: none has finished"
    if len(searched) < LEAST:
        return f"{line}; how well they foretell is said from {LEAST} finished trials on"
    means, _ = Effects(told).posterior(Coordinates.of(space, [one.values for one in searched]))
    agrees = spearman(means.tolist(), [objective(space, one) for one in searched])
    if agrees is None:
        return f"{line} expect the same of all {len(searched)} trainings here"
    verdict = "; they taught little: other data or settings have other effects" if agrees < LITTLE else ""
    return f"{line} foretold the ranks of {len(searched)} trainings here by {agrees:.2f}{verdict}"
