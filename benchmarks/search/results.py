"""What searches have found, in one file that every run goes on from."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search.families import FAMILIES
from benchmarks.search.methods import METHODS, SETTINGS
from benchmarks.search.recording import FOLDER
from ikd.errors import BadInput

Figures = dict[int, tuple[float, float]]
"""Of one search: by number of trainings, quality and excess of the choice (see `Found`), in points of mAP."""
BEGIN = '{"world": "'
"""Of every line; what follows the last whole one was cut off while it was written."""


class Results:
    """A line for each search: which world, which method, which seed, and what it found.

    Lines are added one by one, so that whatever ends a run leaves what it found. A line of another recording, of
    another family or of other settings of its method is not looked at. Of ikd's own code lines know nothing: after a
    change of it, begin another file.

    Attributes:
        figures: by world, method and seed.
    """

    def __init__(self, file: Path) -> None:
        """Read what is there.

        Raises:
            BadInput: the file holds something else.
        """
        self._file = file
        self.figures: dict[str, dict[str, dict[int, Figures]]] = {}
        text = file.read_text() if file.is_file() else ""
        whole, _, self._torn = text.rpartition("\n")
        if not BEGIN.startswith(self._torn[: len(BEGIN)]):  # not the beginning of a line of ours
            whole, self._torn = text, ""
        for number, line in enumerate(whole.splitlines(), 1):
            one = _read(f"{file}, line {number}", line)
            if one["of"] == _content(one["world"], one["method"]):
                self._note(one["world"], one["method"], one["seed"], _figures(one["found"]))

    def of(self, world: str, method: str) -> Mapping[int, Figures]:
        """Return the figures of a method by seed."""
        return self.figures.get(world, {}).get(method, {})

    def missing(self, world: str, method: str, seed: int, trainings: Sequence[int]) -> list[int]:
        """Return the budgets, of some, after which a search has not been looked at."""
        return [one for one in trainings if one not in self.of(world, method).get(seed, {})]

    def add(self, world: str, method: str, seed: int, figures: Figures) -> None:
        """Keep what one search found."""
        self._note(world, method, seed, figures)
        found = {str(trainings): list(figures[trainings]) for trainings in sorted(figures)}
        line = {"world": world, "method": method, "seed": seed, "of": _content(world, method), "found": found}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._torn:
            os.truncate(self._file, self._file.stat().st_size - len(self._torn.encode()))
            self._torn = ""
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _note(self, world: str, method: str, seed: int, figures: Figures) -> None:
        self.figures.setdefault(world, {}).setdefault(method, {}).setdefault(seed, {}).update(figures)


def _read(where: str, line: str) -> dict[str, Any]:
    try:
        one = json.loads(line)
        whole = {"world", "method", "seed", "of", "found"} <= set(one) and _figures(one["found"])
    except (ValueError, TypeError, AttributeError):
        whole = None
    if not whole:
        raise BadInput(f"{where}: must be a search as `compare` writes it, but got {line[:80]!r}")
    return dict(one)


def _figures(found: Mapping[str, Sequence[float]]) -> Figures:
    figures = {int(trainings): (float(quality), float(excess)) for trainings, (quality, excess) in found.items()}
    if not all(math.isfinite(value) for pair in figures.values() for value in pair):
        raise ValueError
    return figures


def _content(world: str, method: str) -> str:
    """Return what stands for a world and a method; empty for one that there is no more."""
    file = FOLDER / f"{world}.json"
    if method not in METHODS or not (world in FAMILIES or file.is_file()):
        return ""
    source = repr(FAMILIES[world]).encode() if world in FAMILIES else file.read_bytes()
    return hashlib.sha256(source + json.dumps(SETTINGS[method]).encode()).hexdigest()[:12]


def one_of(what: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse names that there are not.

    Raises:
        BadInput: names the first.
    """
    for name in given:
        if name not in known:
            raise BadInput(f"{what}: must be one of {', '.join(known)}, but got {name!r}")
