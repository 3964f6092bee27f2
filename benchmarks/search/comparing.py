"""Every method on every world, as often as seeds were asked for."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import cache
from typing import NamedTuple

from benchmarks.search.families import FAMILIES, family_world
from benchmarks.search.methods import METHODS
from benchmarks.search.recording import FOLDER, load
from benchmarks.search.results import Figures, Results, one_of
from benchmarks.search.surrogate import surrogate
from benchmarks.search.worlds import World
from ikd.errors import refuse

TRAININGS = (20, 40, 80)
FEWEST = 4
"""Trainings of a search: the anchors and something besides."""
SEEDS = range(1, 101)
"""Of searches. Not 0: the recorded sweeps drew their trials with it, and random search would draw the same ones."""


class Search(NamedTuple):
    """One search to make.

    Attributes:
        world: its name.
        method: of `METHODS`.
        seed: of the search.
        trainings: after which is chosen.
    """

    world: str
    method: str
    seed: int
    trainings: tuple[int, ...]


def world_names() -> list[str]:
    """Return the recordings, then the families."""
    return [*sorted(path.stem for path in FOLDER.glob("*.json")), *FAMILIES]


def world_of(name: str, seed: int) -> World:
    """Return the world that a search with this seed is made in: a recording is the same for all of them."""
    return family_world(name, seed) if name in FAMILIES else _recorded(name)


@cache
def _recorded(name: str) -> World:
    return surrogate(load(name))


def searched(search: Search) -> Figures:
    """Make a search."""
    world = world_of(search.world, search.seed)
    chosen = METHODS[search.method](world, search.seed, search.trainings)
    return {one: (round(of.quality, 3), round(of.excess, 3)) for one, of in chosen.items()}


def compared(
    results: Results,
    worlds: Sequence[str],
    *,
    seeds: Sequence[int] = SEEDS,
    methods: Sequence[str] = tuple(METHODS),
    trainings: Sequence[int] = TRAININGS,
    processes: int = 1,
    say: Callable[[str], None] = print,
) -> None:
    """Make every search that the results do not have; seed after seed, so that what is there is even.

    Args:
        results: added to as searches end.
        worlds: their names.
        seeds: of searches.
        methods: of `METHODS`.
        trainings: after which is chosen.
        processes: side by side; 1 is this one.
        say: told of every search that is done.

    Raises:
        BadInput: no such world or method, no seed, too few trainings or processes.
    """
    one_of("worlds", worlds, world_names())
    one_of("methods", methods, list(METHODS))
    if not seeds or min(seeds) < 0:
        refuse("seeds", "must be at least one, none below 0", list(seeds))
    if not trainings or min(trainings) < FEWEST:
        refuse("trainings", f"must be at least {FEWEST} each: the anchors and something to choose", list(trainings))
    if processes < 1:
        refuse("processes", "must be at least 1", processes)
    every = [(name, method, seed) for seed in seeds for method in methods for name in worlds]
    searches = [Search(*one, tuple(results.missing(*one, trainings))) for one in every]
    left = [search for search in searches if search.trainings]
    for done, (search, figures) in enumerate(_each(left, processes), 1):
        results.add(search.world, search.method, search.seed, figures)
        say(f"{done} of {len(left)}: {search.world}, {search.method}, seed {search.seed}")


def _each(searches: Sequence[Search], processes: int) -> Iterator[tuple[Search, Figures]]:
    if processes == 1:
        for search in searches:
            yield search, searched(search)
        return
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_left_alone)
    try:
        futures: dict[Future[Figures], Search] = {pool.submit(searched, search): search for search in searches}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:  # a search that runs ends first, at most seconds later
        pool.shutdown(cancel_futures=True)


def _left_alone() -> None:
    """Leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
