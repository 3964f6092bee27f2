"""From a search space and the trials so far to the next values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikd.config import Recipe, SearchSpace
from ikd.errors import ConfigError
from ikd.sweep.records.trials import Proposal, TrialRecord
from ikd.sweep.samplers.history import History
from ikd.sweep.samplers.registry import drawn_values
from ikd.sweep.study.distributions import quiet_optuna


def propose(
    space: SearchSpace,
    recipe: Recipe,
    records: Sequence[TrialRecord],
    *,
    number: int | None = None,
    earlier: Sequence[TrialRecord] = (),
) -> Proposal | None:
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
    tried = {record.fingerprint for record in (*earlier, *records)}
    number = len(records) if number is None else number
    history = History(space, recipe, tuple(records), number, tuple(earlier))
    with quiet_optuna():
        drawn = (_untried(space, recipe, values, tried) for values in drawn_values(history))
        return next((proposal for proposal in drawn if proposal is not None), None)


def _untried(space: SearchSpace, recipe: Recipe, drawn: Mapping[str, Any], tried: set[str]) -> Proposal | None:
    values = {**space.expanded({name: one for name, one in drawn.items() if name in space.parameters}), **drawn}
    try:
        candidate = recipe.with_values(values)
    except ConfigError:  # a combination that fields of the recipe exclude, such as attack.step above attack.eps
        return None
    if candidate.fingerprint() in tried or not space.allows(candidate):
        return None
    return Proposal(values, candidate)
