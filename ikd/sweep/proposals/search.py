"""From a search space and the trials so far to the next values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ikd.config import Recipe, SearchSpace
from ikd.sweep.proposals.anchors import _untried
from ikd.sweep.records.trials import Proposal, TrialRecord
from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.registry import drawn_values
from ikd.sweep.study.distributions import quiet_optuna

LISTED_CONFIGURATIONS = 20_000
"""A finite space up to this size is searched one by one for what is left."""


def propose(
    space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], *, number: int | None = None,
    earlier: Sequence[TrialRecord] = (),
) -> Proposal | None:  # fmt: skip
    """Return the next configuration that was never tried, or None when the space is exhausted.

    The answer depends on the arguments alone: the sampler is made anew, seeded by the space's seed and the trial's
    number, and sees the recorded trials. So a restarted sweep proposes what an uninterrupted one would.

    Args:
        space: what is searched, resolved.
        recipe: the base.
        records: every trial of the study, in order of number.
        number: of the trial to be; default is the next one.
        earlier: trials of another sweep that are points of this space; the sampler learns from them besides, and what
            they tried is not tried again.
    """
    number = len(records) if number is None else number
    tried = {record.fingerprint for record in (*earlier, *records)}
    if space.sampler.grid is not None:
        return _next_of_grid(space, recipe, records, space.sampler.grid.repeats, tried)
    history = History(space, recipe, tuple(records), number, tuple(earlier))
    with quiet_optuna():
        drawn = (_untried(space, recipe, space.expanded(values), tried) for values in drawn_values(history))
        found = next((proposal for proposal in drawn if proposal is not None), None)
    return found or _left_over(space, recipe, tried, number)


def _left_over(space: SearchSpace, recipe: Recipe, tried: set[str], number: int) -> Proposal | None:
    if space.num_configurations() > LISTED_CONFIGURATIONS:
        return None
    everything = list(space.settings(space.parameters))
    order = np.random.default_rng([space.seed, number]).permutation(len(everything))
    candidates = (_untried(space, recipe, space.expanded(everything[index]), tried) for index in order)
    return next((candidate for candidate in candidates if candidate is not None), None)


def _next_of_grid(
    space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], repeats: int, tried: set[str]
) -> Proposal | None:  # fmt: skip
    """Return the next configuration of a full factorial; every one comes once before any is repeated."""
    known = [dict(record.values) for record in records if record.in_space]
    everything = [space.expanded(values) for values in space.settings(space.parameters)]
    for repeat in range(repeats):
        again = {"seed": recipe.seed + repeat} if repeats > 1 else {}
        for index in np.random.default_rng([space.seed, repeat]).permutation(len(everything)):
            values = {**everything[index], **again}
            if values not in known and (proposal := _untried(space, recipe, values, tried)) is not None:
                return proposal
    return None
