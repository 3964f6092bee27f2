"""What is refused before a sweep writes anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ikd.config import Recipe, SearchSpace, SweepFiles
from ikd.errors import BadInput, ConfigError
from ikd.home import at_home
from ikd.sweep.proposals.anchors import anchor_proposals
from ikd.sweep.records.text import readable
from ikd.sweep.training import training_of

FITTING = (
    *("teachers.sequence", "distill.host", "distill.crosskd.position", "distill.levels", "distill.match"),
    *("distill.sfa.levels", "adversarial.enabled", "attack.loss", "validate"),
    *("input.copy_paste.enabled", "input.copy_paste.by"),
)
"""Fields whose choices must fit the detectors or the data, besides the recipe itself."""


def check_training(training: str, files: SweepFiles, home: Path) -> None:
    """Refuse what does not fit its data or detectors: the recipe, an anchor, or a choice that no trial could train.

    Args:
        training: module that trains.
        files: of the sweep.
        home: the ikd home of the sweep.

    Raises:
        BadInput: what does not fit, and what would.
    """
    batch, processes = files.recipe.schedule.batch_size, files.runner.trial.processes
    if batch % processes:
        rule = f"must divide schedule.batch_size, which is {batch} over all processes"
        raise BadInput(f"runner: trial.processes: {rule}, but got {processes}")
    done: set[str] = set()
    with at_home(home):
        for who, recipe in _to_check(files.space, files.recipe):
            if (print_ := recipe.fingerprint()) not in done:
                done.add(print_)
                try:
                    training_of(training).check(recipe)
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
            yield f"search space: {name} {readable(value, name)}", varied
