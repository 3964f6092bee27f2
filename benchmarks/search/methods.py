"""The methods that are compared, and what each chooses after how many trainings.

Every training counts, those that confirm too; so do the paper's values and the student alone, which all train first.
A budget of N trainings is N times their epochs: a method that stops some early begins more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.search.simulate import ANCHORS, Event, Sweep, simulate
from benchmarks.search.tune import NEVER, plain
from benchmarks.search.worlds import Array, World, at_the_end, best_epoch
from ikd.sweep.confirm.standing import standing

RUNGS = {"grace_epochs": 2, "reduction_factor": 3}
"""Of ASHA, ours and Ray's, as in search_spaces/quickstart.yaml."""


@dataclass(frozen=True)
class Found:
    """What a search has chosen.

    Attributes:
        values: of the choice; empty for the student alone.
        quality: its noise-free learning curve at its best epoch, in points of mAP.
        excess: what the search says the choice is worth above what it is worth by the same measure, in points.
    """

    values: Mapping[str, Any]
    quality: float
    excess: float


def best_seen(
    events: Sequence[Event], values: Sequence[Mapping[str, Any]], expected: Sequence[Array], epochs: int
) -> Found:
    """Return what has had the highest validation within some epochs."""
    best = max(events[:epochs], key=lambda event: event.value)
    quality = best_epoch(expected[best.number])
    return Found(values[best.number], quality, 100 * best.value - quality)


Run = Callable[[World, int, Sequence[int]], dict[int, Found]]
"""Searches a world with a seed; returns what is chosen after each of some numbers of trainings."""


def _random(world: World, seed: int, trainings: Sequence[int]) -> dict[int, Found]:
    return _at(simulate(world, RANDOM | _whole(world, max(trainings)), seed=seed), trainings)


def _old(world: World, seed: int, trainings: Sequence[int]) -> dict[int, Found]:
    return _at(simulate(world, OLD | _whole(world, max(trainings)), seed=seed), trainings)


def _tune(world: World, seed: int, trainings: Sequence[int]) -> dict[int, Found]:
    found = plain(world, RUNGS, seed=seed, epochs=max(trainings) * world.epochs)
    return {one: best_seen(found.events, found.values, found.expected, one * world.epochs) for one in trainings}


def _new(world: World, seed: int, trainings: Sequence[int]) -> dict[int, Found]:
    found: dict[int, Found] = {}
    longer: Sweep | None = None
    for one in sorted(trainings, reverse=True):  # what they have in common is searched once
        longer = simulate(world, new(world, one), seed=seed, like=longer)
        found[one] = by_posterior(longer)
    return found


def _whole(world: World, trainings: int) -> dict[str, Any]:
    """Return the budget of a search that confirms nothing and counts with its best epochs."""
    epochs, off = trainings * world.epochs, {"share": 0.0, "apart": 0}
    objective = {**world.base.space["objective"], "value": "best"}
    return {"budget": {"trials": NEVER, "epochs": epochs, "confirm": off}, "objective": objective}


def _at(sweep: Sweep, trainings: Sequence[int]) -> dict[int, Found]:
    values = [record.values if record.in_space else {} for record in sweep.records]
    return {one: best_seen(sweep.events, values, sweep.expected, one * sweep.world.epochs) for one in trainings}


def new(world: World, trainings: int) -> dict[str, Any]:
    """Return what a file says for the new default: a budget of trials, or where ikd stops some early of their epochs.

    Args:
        world: says how long a training is.
        trainings: of the budget, those that confirm included.
    """
    how = NEW | {"budget": {"trials": trainings}}
    space = world.base.searched(**how, anchors=list(ANCHORS))
    if space.scheduler.none is not None:
        return how
    return NEW | {"budget": {"trials": NEVER, "epochs": trainings * world.epochs}}


def settings(world: World, method: str, trainings: int) -> dict[str, Any]:
    """Return what a search-space file says for the old or the new default with a budget of some trainings."""
    return new(world, trainings) if method == NEW_DEFAULT else OLD | _whole(world, trainings)


RANDOM: dict[str, Any] = {"sampler": {"random": {}}, "scheduler": {"none": {}}}
OLD: dict[str, Any] = {"sampler": {"tpe": {}}, "scheduler": {"asha": RUNGS}}
NEW: dict[str, Any] = {"sampler": {"effects": {}}, "scheduler": {"auto": {}}}
"""What files say besides their budgets; the new default could as well say nothing."""
NEW_DEFAULT, OLD_DEFAULT = "new default", "TPE + ASHA, best seen"
METHODS: Mapping[str, Run] = {
    OLD_DEFAULT: _old,
    NEW_DEFAULT: _new,
    "random, best seen": _random,
    "plain Tune, best seen": _tune,
}
SETTINGS: Mapping[str, Any] = {
    OLD_DEFAULT: OLD,
    NEW_DEFAULT: NEW,
    "random, best seen": RANDOM,
    "plain Tune, best seen": RUNGS,
}
"""What figures of a method stand for; under other settings they are made anew."""


def by_posterior(sweep: Sweep) -> Found:
    """Return what ikd chooses: the configuration of which it expects most."""
    known = standing(sweep.space, sweep.recipe, sweep.records)
    assert known is not None, "the paper's values have finished"
    curve, chosen = sweep.expected[known.chosen.number], known.chosen
    return Found(chosen.trainings[0].values, best_epoch(curve), chosen.mean - at_the_end(curve))
