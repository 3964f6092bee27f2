"""What is refused before a sweep writes anything."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ikd.config import Recipe, SearchSpace, SweepFiles
from ikd.errors import BadInput, ConfigError
from ikd.sweep._sampling import anchor_proposals
from ikd.sweep._text import readable

FITTING = ("teachers.sequence", "distill.host", "distill.crosskd.position", "distill.sfa.levels")
"""Fields whose choices must fit the detectors, besides the recipe itself."""


def check_training(training: str, files: SweepFiles, home: Path) -> None:
    """Refuse what does not fit its data or detectors: the recipe, an anchor, or a choice that no trial could train.

    Args:
        training: module that trains; asked only where it has a `check`.
        files: of the sweep.
        home: the ikd home of the sweep.

    Raises:
        BadInput: what does not fit, and what would.
    """
    batch, processes = files.recipe.schedule.batch_size, files.runner.trial.processes
    if batch % processes:
        rule = f"must divide schedule.batch_size, which is {batch} over all processes"
        raise BadInput(f"runner: trial.processes: {rule}, but got {processes}")
    check = getattr(importlib.import_module(training), "check", None)
    if check is None:
        return
    before = os.environ.get("IKD_HOME")
    os.environ["IKD_HOME"] = str(home)
    done: set[str] = set()
    try:
        for who, recipe in _to_check(files.space, files.recipe):
            if (print_ := recipe.fingerprint()) not in done:
                done.add(print_)
                _checked(check, who, recipe)
    finally:
        os.environ.pop("IKD_HOME") if before is None else os.environ.update(IKD_HOME=before)


def _checked(check: Any, who: str, recipe: Recipe) -> None:
    try:
        check(recipe)
    except BadInput as error:
        raise (BadInput(f"{who}: {error}") if who else error) from error


def _to_check(space: SearchSpace, recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Yield the recipe, the anchors, and one recipe for each choice that detectors must fit."""
    yield "", recipe
    for anchor in anchor_proposals(space, recipe):
        yield f"anchor {anchor.anchors[0]}", anchor.recipe
    for name in FITTING:
        for value in space.parameters[name].ends if name in space.parameters else ():
            try:
                varied = recipe.with_values(space.expanded(space.with_parents(name, value)))
            except ConfigError:  # goes only together with other values
                continue
            yield f"search space: {name} {readable(value)}", varied
