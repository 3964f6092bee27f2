"""What of all that trials share is there already; nothing is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ikd.config import Recipe, StagePlan
from ikd.data import DataFiles, indexed
from ikd.errors import BadInput, first_line
from ikd.home import cache
from ikd.training.loaders import crafts_online
from ikd.training.prepared import CPU, PreparedStage, teacher_recipe
from ikd.training.rehearsal.record import rehearsal_key
from ikd.training.sharing import boxes_name, local_file, name_of, store_of
from ikd.training.teachers.loading import load_teacher
from ikd.training.unlabelled.making import label_store
from ikd.training.unlabelled.reading import images_for_labels
from ikd.trial import TRAIN_SECONDS, VAL_SECONDS, Shared, TrialFolder


def found(recipe: Recipe) -> tuple[Shared, ...]:
    """Return what `prepare` would do once for a recipe, and how much of it is done; makes nothing.

    Rehearsals come last, as on a CPU. Where a teacher's checkpoint lies on this machine it is loaded, to see whether
    something was made with its weights.

    Raises:
        BadInput: data or checkpoints that do not fit.
    """
    files = DataFiles.of(recipe)
    told: dict[tuple[str, str], Shared] = {}
    for plan in recipe.each_teacher:
        names = [name for name in (plan.teacher, plan.boxes_from) if name is not None]
        at = {name: _found_teacher(recipe, name, files) for name in names}
        every = [shared for shared, _ in at.values() if shared is not None]
        if plan.teacher is not None and plan.recipe.adversarial.enabled and not crafts_online(plan.recipe):
            every.append(_found_perturbations(plan, files, at[plan.teacher][1]))
        if plan.boxes_from is not None:
            every.append(_found_boxes(recipe, plan.boxes_from, files, at[plan.boxes_from][1]))
        if plan.teacher is not None and plan.recipe.distill.labels.enabled:
            every.append(_found_labels(plan, files, at[plan.teacher][1]))
        for one in every:
            told.setdefault((one.kind, one.teacher), one)
    return tuple(told.values()) + tuple(_found_rehearsals(recipe, files))


def _found_rehearsals(recipe: Recipe, files: DataFiles) -> Iterator[Shared]:
    for plan in recipe.stages:
        sees = any(other.boxes_from == plan.teacher for other in recipe.stages) and plan.teacher is not None
        name = rehearsal_key(plan, files, CPU, sees=sees)
        yield Shared("rehearsal", name, int((cache("rehearsals") / name).is_file()), 1)
    for name in dict.fromkeys(stage.teacher for stage in recipe.teachers.stages):
        teacher = recipe.teachers.available[name]
        if teacher.checkpoint is None:
            yield from _found_rehearsals(teacher_recipe(recipe, teacher), files)


def _found_teacher(recipe: Recipe, name: str, files: DataFiles) -> tuple[Shared | None, Path | None]:
    """Return what there is of a teacher that is trained, and the checkpoint of one that is there."""
    teacher = recipe.teachers.available[name]
    if teacher.checkpoint is not None:
        return None, Path(teacher.checkpoint) if Path(teacher.checkpoint).is_file() else None
    training = teacher_recipe(recipe, teacher)
    folder = TrialFolder(cache("teachers") / name_of(training, files))
    logged, total, made = folder.logged(), training.total_epochs, (folder.path / "done").is_file()
    took = [one[TRAIN_SECONDS] + one[VAL_SECONDS] for one in logged.values() if TRAIN_SECONDS in one]
    seconds = sum(took) / max(logged) if took else None
    done = total if made else min(max(logged, default=0), total - 1)
    return Shared("teacher", name, done, total, seconds), folder.best if made else None


def _found_perturbations(plan: StagePlan, files: DataFiles, weights: Path | None) -> Shared:
    assert plan.teacher is not None
    count, done = len(indexed(files.train)), 0
    if weights is not None:
        teacher = load_teacher(plan.recipe.teachers.available[plan.teacher], weights, files.classes)
        store = store_of(plan.recipe, files, teacher)
        done = 2 * count if store.complete else min(len(store), count)
    return Shared("perturbations", plan.teacher, done, 2 * count)


def _found_boxes(recipe: Recipe, name: str, files: DataFiles, weights: Path | None) -> Shared:
    count, done = len(indexed(files.train)), 0
    if weights is not None:
        teacher = load_teacher(recipe.teachers.available[name], weights, files.classes)
        done = count if (cache("boxes") / boxes_name(recipe, files, teacher)).is_file() else 0
    return Shared("boxes", name, done, count)


def _found_labels(plan: StagePlan, files: DataFiles, weights: Path | None) -> Shared:
    assert plan.teacher is not None
    wanted, chosen = images_for_labels(plan.recipe, files), plan.recipe.teachers.available[plan.teacher]
    done = 0
    if weights is not None:
        store = label_store(plan.recipe, chosen, files, load_teacher(chosen, weights, files.classes))
        done = len(wanted) - sum(map(len, store.missing(list(wanted))))
    return Shared("labels", plan.teacher, done, len(wanted))


def weights_there(recipe: Recipe, name: str, files: DataFiles) -> Path:
    """Return the weights of a teacher that is there; it is not trained for that.

    Args:
        recipe: that has the teacher.
        name: of the teacher in it.
        files: data of the recipe.

    Raises:
        BadInput: they are not, or no longer, there; says what makes them.
    """
    teacher = recipe.teachers.available[name]
    if teacher.checkpoint is None:
        shared, weights = _found_teacher(recipe, name, files)
        if weights is None:
            assert shared is not None
            there = f"{shared.done} of {shared.total} epochs are in {cache('teachers')}"
            raise BadInput(
                f"teacher {name}: must have been trained, but {there}; a training that it teaches in does it"
            )
        return weights
    try:
        weights = local_file(teacher.checkpoint)
    except OSError as error:
        raise BadInput(f"teacher {name}: {teacher.checkpoint} must be there, but {first_line(error)}") from error
    if not weights.is_file():
        raise BadInput(f"teacher {name}: its checkpoint must be a file, but {weights} is not there; put it back")
    return weights


def stage_there(recipe: Recipe, plan: StagePlan, files: DataFiles) -> PreparedStage:
    """Return what there is of what a stage starts from: its teacher's weights, their perturbations and boxes.

    Args:
        recipe: of the training.
        plan: the stage.
        files: data of the recipe.

    Raises:
        BadInput: a teacher's weights are not there, or do not fit.
    """
    if plan.teacher is None:
        return PreparedStage()
    return PreparedStage.together(_teacher_there(recipe, one, files) for one in plan.each)


def _teacher_there(recipe: Recipe, plan: StagePlan, files: DataFiles) -> PreparedStage:
    """Return what there is of what a stage needs of one of its teachers."""
    assert plan.teacher is not None
    weights, boxes, perturbations = weights_there(recipe, plan.teacher, files), None, None
    if plan.recipe.adversarial.enabled and not crafts_online(plan.recipe):
        attacked = load_teacher(recipe.teachers.available[plan.teacher], weights, files.classes)
        store = store_of(plan.recipe, files, attacked)
        perturbations = store.folder if store.complete else None
    if plan.boxes_from is not None:
        seeing = weights_there(recipe, plan.boxes_from, files)
        teacher = load_teacher(recipe.teachers.available[plan.boxes_from], seeing, files.classes)
        file = cache("boxes") / boxes_name(recipe, files, teacher)
        boxes = file if file.is_file() else None
    return PreparedStage(weights, perturbations, boxes, labels=_labels_there(plan, files, weights))


def _labels_there(plan: StagePlan, files: DataFiles, weights: Path) -> Path | None:
    """Return the folder of the labels of a stage's teacher; None where there are none, or not all of them."""
    if not plan.recipe.distill.labels.enabled or not _found_labels(plan, files, weights).made:
        return None
    assert plan.teacher is not None
    chosen = plan.recipe.teachers.available[plan.teacher]
    return label_store(plan.recipe, chosen, files, load_teacher(chosen, weights, files.classes)).folder
