"""The fixed trials of a sweep."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ikd.config import Recipe, SearchSpace
from ikd.errors import ConfigError
from ikd.sweep.records.domains import as_chosen, contains
from ikd.sweep.records.trials import Proposal, TrialRecord


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


def anchors_left(space: SearchSpace, recipe: Recipe) -> Callable[[Sequence[TrialRecord]], Proposal | None]:
    """Return what proposes the anchors one by one: the first that no trial is, None when all have been tried."""
    anchors = [(one, one.recipe.fingerprint()) for one in anchor_proposals(space, recipe)]

    def propose_next(records: Sequence[TrialRecord]) -> Proposal | None:
        tried = {record.fingerprint for record in records}
        return next((anchor for anchor, print_ in anchors if print_ not in tried), None)

    return propose_next


def _fingerprint(recipe: Recipe, values: Mapping[str, Any]) -> str | None:
    with contextlib.suppress(ConfigError):  # of values that the recipe takes only together with others
        return recipe.with_values(values).fingerprint()
    return None
