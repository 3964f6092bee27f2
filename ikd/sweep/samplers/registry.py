"""The samplers: each yields values that it would try next, the best first."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ikd.sweep.samplers.history import History, Values
from ikd.sweep.samplers.random import random_sampler
from ikd.sweep.samplers.views import asked, blank_view

MODEL_DRAWS = 8
"""Draws from the model before a duplicate makes us draw at random."""
RANDOM_DRAWS = 200
"""Random draws before the space is searched one by one (finite) or called exhausted (continuous)."""
LISTED_CONFIGURATIONS = 20_000
"""A finite space up to this size is searched one by one for what is left."""


class Entry(NamedTuple):
    """Where a sampler is.

    Attributes:
        function: `module:function`, called with the history; imported when asked for, since some are slow.
        exhaustive: what it yields is all there is to try, so nothing else is drawn after it.
    """

    function: str
    exhaustive: bool = False

    def load(self) -> Callable[[History], Iterator[Values]]:
        """Import the sampler."""
        module, _, name = self.function.partition(":")
        found: Callable[[History], Iterator[Values]] = getattr(importlib.import_module(module), name)
        return found


SAMPLERS = {
    "effects": Entry("ikd.sweep.samplers.effects:effects_values"),
    "tpe": Entry("ikd.sweep.samplers.tpe:tpe_values"),
    "random": Entry("ikd.sweep.samplers.random:random_values"),
    "grid": Entry("ikd.sweep.samplers.grid:grid_values", exhaustive=True),
    "qmc": Entry("ikd.sweep.samplers.qmc:qmc_values"),
    "cmaes": Entry("ikd.sweep.samplers.cmaes:cmaes_values"),
    "gp": Entry("ikd.sweep.samplers.gp:gp_values"),
    "nsga2": Entry("ikd.sweep.samplers.nsga2:nsga2_values"),
}
"""By their keys in the search-space file."""


def drawn_values(history: History) -> Iterator[Values]:
    """Yield the sampler's proposals, then random ones, then what a small space has; a function of the history alone.

    Every draw has a sampler made anew, seeded by the space's seed, the trial's number and the number of the draw.
    """
    entry = SAMPLERS[history.space.sampler.kind]
    values = entry.load()(history)
    if entry.exhaustive:
        yield from values
        return
    yield from itertools.islice(values, MODEL_DRAWS)
    view = blank_view(history)
    for attempt in range(MODEL_DRAWS, MODEL_DRAWS + RANDOM_DRAWS):
        yield asked(history, view, random_sampler(history, history.seed(attempt)))
    space = history.space
    if space.num_configurations() <= LISTED_CONFIGURATIONS:
        everything = list(space.settings(space.parameters))
        order = np.random.default_rng([space.seed, history.number]).permutation(len(everything))
        yield from (everything[index] for index in order)
