"""Every method on every world, as often as seeds were asked for; kept, so that it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from benchmarks.search.families import FAMILIES, family_world
from benchmarks.search.methods import METHODS, SETTINGS
from benchmarks.search.recording import FOLDER, load
from benchmarks.search.surrogate import surrogate
from benchmarks.search.worlds import World
from ikd.files import write_text

RECORDED = FOLDER / "search"
"""What `compare` has found, kept with the code."""
TRAININGS = (20, 40, 80)
SEEDS = range(1, 101)
"""Of searches. Not 0: the recorded sweeps drew their trials with it, and random search would draw the same ones."""
Figures = dict[int, tuple[float, float]]
"""Of one search: by number of trainings, quality and excess of the choice (see `Found`), in points of mAP."""


def world_names() -> list[str]:
    """Return the recordings, then the families."""
    return [*sorted(path.stem for path in FOLDER.glob("*.json")), *FAMILIES]


def world_of(name: str, seed: int) -> World:
    """Return the world that a search with this seed is made in: a recording is the same for all of them."""
    return family_world(name, seed) if name in FAMILIES else _recorded(name)


@cache
def _recorded(name: str) -> World:
    return surrogate(load(name))


class Results:
    """The figures of one world in a file.

    What was found under another recording, another family or other settings of the methods is not taken over.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._file = name, folder / f"{name}.json"
        self.figures: dict[str, dict[int, Figures]] = {}  # by method and seed
        for method, kept in (json.loads(self._file.read_text()) if self._file.is_file() else {}).items():
            if method in METHODS and kept["of"] == _content(name, method):
                self.figures[method] = {int(seed): _figures(cells) for seed, cells in kept["seeds"].items()}

    def missing(self, seed: int, methods: Iterable[str], trainings: Sequence[int]) -> list[str]:
        """Return the methods whose figures of a seed are not all there."""
        return [one for one in methods if not set(trainings) <= set(self.figures.get(one, {}).get(seed, {}))]

    def add(self, seed: int, found: dict[str, Figures]) -> None:
        """Keep the figures of one seed."""
        for method, figures in found.items():
            self.figures.setdefault(method, {}).setdefault(seed, {}).update(figures)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        blocks = [_block(method, _content(self.name, method), seeds) for method, seeds in self.figures.items()]
        write_text(self._file, "{\n" + ",\n".join(blocks) + "\n}\n")


def _figures(cells: Mapping[str, Sequence[float]]) -> Figures:
    return {int(trainings): (quality, excess) for trainings, (quality, excess) in cells.items()}


def _block(method: str, content: str, seeds: Mapping[int, Figures]) -> str:
    lines = [f'  "{seed}": {json.dumps(dict(sorted(seeds[seed].items())))}' for seed in sorted(seeds)]
    return f'{json.dumps(method)}: {{"of": "{content}", "seeds": {{\n' + ",\n".join(lines) + "\n}}"


def _content(name: str, method: str) -> str:
    source = repr(FAMILIES[name]).encode() if name in FAMILIES else (FOLDER / f"{name}.json").read_bytes()
    return hashlib.sha256(source + json.dumps(SETTINGS.get(method)).encode()).hexdigest()[:12]


def searched(name: str, seed: int, methods: Sequence[str], trainings: Sequence[int]) -> dict[str, Figures]:
    """Search one world with some methods."""
    world = world_of(name, seed)
    found: dict[str, Figures] = {}
    for method in methods:
        chosen = METHODS[method](world, seed, trainings)
        found[method] = {one: (round(of.quality, 3), round(of.excess, 3)) for one, of in chosen.items()}
    return found


def compared(
    names: Sequence[str],
    folder: Path,
    *,
    seeds: Sequence[int] = SEEDS,
    methods: Sequence[str] = tuple(METHODS),
    trainings: Sequence[int] = TRAININGS,
    processes: int = 1,
    say: Callable[[str], None] = print,
) -> list[Results]:
    """Run every search that the files do not have; seed after seed, so that what is there is even.

    Args:
        names: of worlds.
        folder: of the files.
        seeds: of searches.
        methods: of `METHODS`.
        trainings: after which is chosen.
        processes: side by side; 1 is this one.
        say: told of every search that is done.
    """
    results = {name: Results(name, folder) for name in names}
    work = [(name, seed, results[name].missing(seed, methods, trainings)) for seed in seeds for name in names]
    left = [one for one in work if one[2]]
    for done, (name, seed, found) in enumerate(_each(left, trainings, processes), 1):
        results[name].add(seed, found)
        say(f"{done} of {len(left)}: {name}, seed {seed}")
    return list(results.values())


def _each(
    work: Sequence[tuple[str, int, list[str]]], trainings: Sequence[int], processes: int
) -> Iterator[tuple[str, int, dict[str, Figures]]]:
    if processes == 1:
        for name, seed, methods in work:
            yield name, seed, searched(name, seed, methods, trainings)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = [(name, seed, pool.submit(searched, name, seed, methods, trainings)) for name, seed, methods in work]
        for name, seed, future in asked:
            yield name, seed, future.result()
