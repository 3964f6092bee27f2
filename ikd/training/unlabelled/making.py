"""A teacher's labels of the images of a recipe: which they are, where they are kept, and making them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ikd.augment import test_pipeline_of
from ikd.config import Detector, Recipe, StagePlan, Teacher, load_recipe
from ikd.data import DataFiles
from ikd.detectors import own_test_input
from ikd.errors import refuse
from ikd.evaluation.labels import LabelStore, label_key, look_for_labels, usual_threshold
from ikd.home import cache, entry
from ikd.training.teachers.loading import model_config
from ikd.training.unlabelled.reading import images_for_labels
from ikd.trial import Notify


def check_labels(plan: StagePlan, teacher: Any) -> None:
    """Refuse settings of a stage that do not go with its teacher.

    Raises:
        BadInput: boxes that are ignored would score above those that are taught.
    """
    section = plan.recipe.distill.labels
    if section.enabled and section.threshold == "auto" and section.ignore is not None:
        usual = usual_threshold(teacher)
        if section.ignore >= usual:
            rule = f"must be below {usual:g}, what distill.labels.threshold: auto is for teacher {plan.teacher}"
            refuse(f"recipe {plan.recipe.name}: distill.labels.ignore", rule, section.ignore)


def shown_as(recipe: Recipe, teacher: Teacher) -> Recipe:
    """Return the recipe with the input at which a teacher looks for labels: its own test scale, where one is known.

    That is what the recipe that trains it says, else the test pipeline of its config, else the student's input. Images
    that are padded to one size are padded to one that this scale fits into.
    """
    if teacher.checkpoint is None and teacher.recipe is not None:
        own = load_recipe(teacher.recipe).input
        scale, keeps = own.scale, own.keep_ratio
    elif (known := own_test_input(teacher.config)) is not None:
        scale, keeps = known
    else:
        return recipe
    least = (max(scale), max(scale)) if keeps else scale
    padded = [max(sides) for sides in zip(recipe.input.pad.size, least, strict=True)]
    return recipe.with_values({"input.scale": list(scale), "input.keep_ratio": keeps, "input.pad.size": padded})


def label_store(recipe: Recipe, teacher: Teacher, files: DataFiles, detector: Any) -> LabelStore:
    """Return where the labels of a teacher are kept, made or not.

    Args:
        recipe: in force.
        teacher: which detector it is.
        files: data of the recipe.
        detector: the teacher with its weights.
    """
    return LabelStore(cache("labels"), _key(recipe, teacher, files, detector))


def _key(recipe: Recipe, teacher: Teacher, files: DataFiles, detector: Any) -> dict[str, Any]:
    config = repr(model_config(_plain(teacher), files.classes).to_dict())
    return label_key(detector, config, _pipeline(recipe, teacher, detector), files.classes)


def _plain(teacher: Detector) -> Detector:
    return teacher.model_copy(update={"pretrained_backbone": False})  # the checkpoint holds the backbone


def _pipeline(recipe: Recipe, teacher: Teacher, detector: Any) -> list[dict[str, Any]]:
    return test_pipeline_of(shown_as(recipe, teacher), getattr(detector, "bbox_head", None))


def teacher_labels(
    recipe: Recipe,
    teacher: Teacher,
    files: DataFiles,
    detector: Any,
    progress: Notify | None,
    *,
    root: Path | None = None,
) -> Path:
    """Return the folder of a teacher's labels, of all images that a stage reads them of; what is there is not remade.

    Args:
        recipe: in force in the stage.
        teacher: which detector it is.
        files: data of the recipe.
        detector: the teacher with its weights, frozen, on its device.
        progress: told how many images are done.
        root: folder of the stores, where it is not the cache.
    """
    store = label_store(recipe, teacher, files, detector)
    if root is not None:
        store = LabelStore(root, store.key)
    with entry("labels", store.folder.name):
        look_for_labels(
            store,
            images_for_labels(recipe, files),
            detector,
            _pipeline(recipe, teacher, detector),
            batch_size=recipe.schedule.batch_size,
            workers=recipe.schedule.workers,
            progress=progress,
        )
    return store.folder
