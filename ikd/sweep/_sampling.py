"""From a search space and the trials so far to the next values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna

from ikd.config import Recipe, SearchSpace
from ikd.errors import ConfigError
from ikd.sweep._domains import as_chosen, configurations, contains
from ikd.sweep._records import ANCHOR_NAMES, TrialRecord
from ikd.sweep._samplers import drawn_values
from ikd.sweep._samplers_history import History

LISTED_CONFIGURATIONS = 20_000
"""A finite space up to this size is searched one by one for what is left."""


@dataclass(frozen=True)
class Proposal:
    """The next trial.

    Attributes:
        values: recipe fields by dotted name; only those that exist under their parents' values.
        recipe: the base recipe with `values`.
        anchors: names of the anchors it is; empty when sampled.
        in_space: `values` is a point of the space.
    """

    values: Mapping[str, Any]
    recipe: Recipe
    anchors: tuple[str, ...] = ()
    in_space: bool = True


def anchor_proposals(space: SearchSpace, recipe: Recipe) -> list[Proposal]:
    """Return the anchors, one proposal per distinct configuration.

    An anchor whose values all lie inside the space is a point of it and the sampler learns from its result. One that
    lies outside (the student alone nearly always) stays outside the sampler's model: it has no coordinates there. Its
    values are kept all the same, so that a table shows what it had where the others vary.
    """
    found: dict[str, Proposal] = {}
    for anchor in space.anchors:
        fixed = recipe.anchor(anchor)
        print_ = fixed.fingerprint()
        if print_ in found:
            found[print_] = replace(found[print_], anchors=(*found[print_].anchors, anchor))
            continue
        own = {name: as_chosen(domain, fixed.value(name)) for name, domain in space.parameters.items()}
        point_ = space.active(own)
        fed = space.expanded(point_)
        inside = all(contains(space.parameters[name], value) for name, value in point_.items())
        inside = inside and _fingerprint(recipe, fed) == print_
        shown = {field: point_[field] if field in point_ else fixed.value(field) for field in fed}
        found[print_] = Proposal(shown, fixed, (anchor,), inside)
    return list(found.values())


def _fingerprint(recipe: Recipe, values: Mapping[str, Any]) -> str | None:
    with contextlib.suppress(ConfigError):  # of values that the recipe takes only together with others
        return recipe.with_values(values).fingerprint()
    return None


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


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from announcing every study, without changing what a person's own script has set."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _untried(space: SearchSpace, recipe: Recipe, values: Mapping[str, Any], tried: set[str]) -> Proposal | None:
    try:
        candidate = recipe.with_values(values)
    except ConfigError:  # a combination that fields of the recipe exclude, such as attack.step above attack.eps
        return None
    if candidate.fingerprint() in tried or not space.allows(candidate):
        return None
    return Proposal(values, candidate)


def _left_over(space: SearchSpace, recipe: Recipe, tried: set[str], number: int) -> Proposal | None:
    if space.num_configurations() > LISTED_CONFIGURATIONS:
        return None
    everything = list(configurations(space))
    order = np.random.default_rng([space.seed, number]).permutation(len(everything))
    candidates = (_untried(space, recipe, space.expanded(everything[index]), tried) for index in order)
    return next((candidate for candidate in candidates if candidate is not None), None)


def _next_of_grid(
    space: SearchSpace, recipe: Recipe, records: Sequence[TrialRecord], repeats: int, tried: set[str]
) -> Proposal | None:  # fmt: skip
    """Return the next configuration of a full factorial; every one comes once before any is repeated."""
    known = [dict(record.values) for record in records if record.in_space]
    everything = [space.expanded(values) for values in configurations(space)]
    for repeat in range(repeats):
        again = {"seed": recipe.seed + repeat} if repeats > 1 else {}
        for index in np.random.default_rng([space.seed, repeat]).permutation(len(everything)):
            values = {**everything[index], **again}
            if values not in known and (proposal := _untried(space, recipe, values, tried)) is not None:
                return proposal
    return None


def sampled_name(anchors: Sequence[str]) -> str:
    """Return the name of an anchor trial for people."""
    return " = ".join(ANCHOR_NAMES[anchor] for anchor in anchors)
