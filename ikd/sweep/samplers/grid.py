"""Every configuration of a finite space."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ikd.sweep.samplers.history import History, Values


def grid_values(history: History) -> Iterator[Values]:
    """Yield what is left of a full factorial; every configuration comes once before any is repeated."""
    space, grid = history.space, history.space.sampler.grid
    assert grid is not None
    known = [dict(record.values) for record in history.records if record.in_space]
    everything = list(space.settings(space.parameters))
    for repeat in range(grid.repeats):
        again = {"seed": history.recipe.seed + repeat} if grid.repeats > 1 else {}
        for index in np.random.default_rng([space.seed, repeat]).permutation(len(everything)):
            if {**space.expanded(everything[index]), **again} not in known:
                yield {**everything[index], **again}
