"""From which checkpoint a trial goes on: its own, another's, or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikd.config import Recipe, differences, load_recipe
from ikd.data import DataFiles, DataRecord, class_changes
from ikd.detectors import read_checkpoint
from ikd.errors import CheckpointError, IkdError
from ikd.files import sweep_partials
from ikd.progress import say
from ikd.training.checkpoint import Content, load
from ikd.training.progress import Progress
from ikd.trial import TrialFolder

_SAID = 5
"""Fields that differ from the recipe of before are named, up to this many."""


@dataclass(frozen=True)
class Start:
    """The checkpoint that a trial goes on from.

    Attributes:
        content: what it holds.
        path: where it lies.
    """

    content: Content
    path: Path


def how_to_go_on(directory: Path) -> str:
    """Say to a person what a training that was ended has left, and how to go on with it."""
    last = TrialFolder(directory).last
    if not last.is_file():
        return "no epoch was validated yet, and the same command begins anew"
    return f"{last} holds the last validated epoch, and the same command with --resume goes on from it"


def find_start(
    recipe: Recipe, progress: Progress, files: DataFiles, checkpoint: Path | None, adopt: Path | None
) -> tuple[Recipe, Start | None]:
    """Decide what a trial goes on from, and bring its folder and `progress` in line with that.

    Returns:
        The recipe, under the place where its data set lay when the training began, and what it goes on from.

    Raises:
        CheckpointError: unreadable, written by another recipe or on other data, or not to be adopted; nothing was
            changed.
    """
    folder = progress.folder
    own = load(checkpoint) if checkpoint is not None else None
    recipe = _as_it_began(recipe, folder, own)
    progress.fingerprint = recipe.fingerprint()
    start = _choose(recipe, progress, checkpoint, own, adopt)
    if start is not None:
        _refuse_other_data(start, progress, files)
    sweep_partials(folder.path)
    if start is None:
        for path in (folder.log, folder.last, folder.previous):
            path.unlink(missing_ok=True)
        return recipe, None
    folder.cut_log(start.content["epoch"])
    if start.content is own:
        progress.best_epoch, progress.best_metrics = start.content["best_epoch"], start.content["best_metrics"]
    elif folder.best.is_file():
        for epoch, metrics in folder.logged().items():
            progress.note(epoch, metrics)
    if start.path == folder.previous:  # the damaged one must not become the previous one
        return recipe, Start(start.content, start.path.replace(folder.last))
    return recipe, start


def _as_it_began(recipe: Recipe, folder: TrialFolder, content: Content | None) -> Recipe:
    """Return the recipe for going on, whose data set may lie elsewhere now; what that shows is compared afterwards.

    A checkpoint that does not say what it was trained on cannot be compared, and is left to its own folder.
    """
    before = _recipe_before(folder) if content is not None and content.get("data") is not None else None
    return recipe if before is None else recipe.going_on(before)


def _choose(
    recipe: Recipe, progress: Progress, checkpoint: Path | None, content: Content | None, adopt: Path | None
) -> Start | None:
    """Return what a trial goes on from; `content` is that of `checkpoint`."""
    ours = content is not None and content.get("fingerprint") == progress.fingerprint
    if adopt is not None:
        other = load(adopt)
        if content is None or not (ours and content["epoch"] > other["epoch"]):
            _refuse_other_schedule(recipe, other, adopt)
            return Start(other, adopt)
    if content is None or checkpoint is None:
        return None
    if not ours:
        rule = "must belong to this recipe; it was written by a recipe that trains differently"
        raise CheckpointError(f"{checkpoint}: {rule}{_differences(_recipe_before(progress.folder), recipe)}")
    return Start(content, checkpoint)


def _recipe_before(folder: TrialFolder) -> Recipe | None:
    """Return the recipe that a folder was trained by; None where it is not there, or none of today's."""
    try:
        return load_recipe(str(folder.recipe))
    except (IkdError, OSError):
        return None


def _differences(before: Recipe | None, recipe: Recipe) -> str:
    """Say in which fields a recipe differs from that of before; nothing where that is not known."""
    if before is None:
        return ""
    moved = {"data.root", "data.began_at"} if recipe.data.began_at is not None else set[str]()
    found = [(name, *pair) for name, pair in differences(before, recipe).items() if name not in moved]
    said = [f"{name} was {was!r}, and is {now!r}" for name, was, now in found]
    more = [f"{len(said) - _SAID} more"] if len(said) > _SAID else []
    return ": " + "; ".join(said[:_SAID] + more) if said else ""


def _refuse_other_data(start: Start, progress: Progress, files: DataFiles) -> None:
    """Refuse to go on with other classes, another order of them, or other images or boxes.

    A checkpoint from before data were noted is compared by what lies beside it: best.pth names the classes.
    """
    noted = start.content.get("data")
    assert progress.data is not None
    if noted is not None:
        changes = progress.data.changes_since(DataRecord.of(noted))
    else:
        changes = class_changes(_classes_of(progress.folder.best) or files.classes, files.classes)
        text = f"{start.path} does not say what data it was trained on, so that they cannot be compared; it goes on"
        if not changes and progress.folder.remark(text):
            say(text)
    if changes:
        raise CheckpointError(
            f"{start.path}: must have been trained on what {files.train} and {files.val} show now, but since then "
            f"{'; '.join(changes)}; put the data back as they were, or train anew in another folder"
        )


def _classes_of(best: Path) -> tuple[str, ...] | None:
    """Return the classes that a student was trained for; None where there is no student, or it does not say so."""
    try:
        return read_checkpoint(best).classes
    except CheckpointError:
        return None


def _refuse_other_schedule(recipe: Recipe, other: Content, path: Path) -> None:
    """Refuse what would act only in part, as the states of optimiser and schedule come from the checkpoint."""
    theirs = other.get("schedule")
    if theirs is None:
        raise CheckpointError(f"{path}: must hold the schedule it was trained with, to be adopted; none is there")
    ours = schedule_of(recipe)
    different = [name for name in ours if ours[name] != theirs.get(name)]
    if different:
        name = different[0]
        raise CheckpointError(
            f"{path}: {name}: must be that of the recipe that adopts it, {ours[name]!r}, but got {theirs.get(name)!r}"
        )


def schedule_of(recipe: Recipe) -> dict[str, Any]:
    """Return by dotted name what the states of optimiser and schedule depend on."""
    found = dict(_leaves("schedule", recipe.effective()["schedule"]))
    return found | {"teachers": [[plan.first, plan.last] for plan in recipe.stages]}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(f"{name}.{key}", below)
    else:
        yield name, value
