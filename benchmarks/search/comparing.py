"""Every method on one recording, as often as seeds were asked for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.search.plain import plain
from benchmarks.search.recording import FOLDER, load
from benchmarks.search.report import Comparison, Course, course
from benchmarks.search.runs import METHODS, PLAIN, ours
from benchmarks.search.surrogate import Surrogate

SEEDS = range(1, 1000)
"""Of searches. Not 0: the recorded sweeps drew their trials with it, and random search would draw the same ones."""


class Store:
    """A JSON file of what took long, to go on from; without a file nothing is kept."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.content: dict[str, Any] = {}
        if file is not None:
            with contextlib.suppress(FileNotFoundError):
                self.content = json.loads(file.read_text())

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what was kept under `key`, made first where there is nothing."""
        if key not in self.content:
            self.content[key] = make()
            print(key, flush=True)
            if self._file is not None:
                partial = self._file.with_suffix(".partial")
                partial.write_text(json.dumps(self.content))
                os.replace(partial, self._file)
        return self.content[key]


def key_of(name: str, method: str, seed: int, epochs: int) -> str:
    """Return what a search is kept under; a recording that has changed makes another key."""
    content = hashlib.sha256((FOLDER / f"{name}.json").read_bytes()).hexdigest()[:12]
    return f"{name} {content}: {method}, seed {seed}, {epochs} epochs"


def compared(name: str, store: Store, *, seeds: int, tune_seeds: int, epochs: int) -> Comparison:
    """Run every search of a recording that the store does not have.

    Args:
        name: of the recording.
        store: of finished searches.
        seeds: of our own methods.
        tune_seeds: of plain Tune, 0 to leave it out.
        epochs: of one search, all of its trials together.
    """
    surrogate = Surrogate(load(name))

    def courses(method: str, count: int) -> Iterator[Course]:
        for seed in SEEDS[:count]:
            run = plain if method == PLAIN else lambda one, **how: ours(one, method, **how)
            make = lambda run=run, seed=seed: vars(course(run(surrogate, seed=seed, epochs=epochs)))  # noqa: E731
            yield Course(**store.once(key_of(name, method, seed, epochs), make))

    counts = {**dict.fromkeys(METHODS, seeds), PLAIN: tune_seeds}
    found = {method: list(courses(method, count)) for method, count in counts.items() if count}
    paper = surrogate.paper()
    seen = [
        float(surrogate.train(surrogate.recording.recipe(seed), paper).max()) for seed in SEEDS[: max(counts.values())]
    ]
    return Comparison(name, found, seen, float(surrogate.expected(paper).max()), surrogate.epochs)
