"""What trials share, made once: teacher weights and perturbations, in a cache keyed by content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from ikd.attack import DIFGSM, PerturbationStore, TrainingImages, generate, perturbation_key
from ikd.augment import TeacherBoxes
from ikd.config import Recipe, StagePlan, Teacher, home, load_recipe
from ikd.detectors import build_detector, freeze, weights_sha256
from ikd.errors import BadInput, CheckpointError
from ikd.training._boxes import find_boxes
from ikd.training._checkpoint import resumable
from ikd.training._data import DataFiles
from ikd.training._model import build_model, load_teacher, model_config

Notify = Callable[[str, int, int], None]
"""Called with what is being made, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class PreparedStage:
    """What one stage starts from.

    Attributes:
        weights: the teacher's checkpoint; None when the student trains alone.
        perturbations: folder of the store; None without the adversarial term.
        boxes: file of the boxes that drive masking enhancement; None without it.
    """

    weights: Path | str | None = None
    perturbations: Path | None = None
    boxes: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """What one trial starts from."""

    files: DataFiles
    stages: tuple[PreparedStage, ...]


def prepare(recipe: Recipe, progress: Notify | None = None) -> Prepared:
    """Check the recipe against its data and detectors, and make what it needs; what is there is found, not made again.

    Safe to call from several processes: one makes an entry, the others wait for it. One teacher is in memory at a time.

    Raises:
        BadInput: data, detectors or checkpoints that do not fit, before anything is trained.
    """
    files = check(recipe)
    return Prepared(files, tuple(_stage(recipe, plan, files, progress) for plan in recipe.stages))


def _stage(recipe: Recipe, plan: StagePlan, files: DataFiles, progress: Notify | None) -> PreparedStage:
    if plan.teacher is None:
        return PreparedStage()
    teacher = recipe.teachers.available[plan.teacher]
    weights = teacher_weights(recipe, teacher, files, progress)
    perturbations = boxes = None
    if plan.recipe.adversarial.enabled:
        perturbations = _perturbations(plan.recipe, files, _loaded(recipe, teacher, weights, files), progress)
    if plan.boxes_from is not None:
        seeing = recipe.teachers.available[plan.boxes_from]
        seen_by = _loaded(recipe, seeing, teacher_weights(recipe, seeing, files, progress), files)
        boxes = teacher_boxes(recipe, files, seen_by, progress)
    return PreparedStage(weights, perturbations, boxes)


def _loaded(recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles) -> torch.nn.Module:
    return load_teacher(teacher, weights, files.classes).to(device_of(recipe))


def device_of(recipe: Recipe) -> torch.device:
    """Return the device a recipe trains on."""
    if recipe.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(recipe.device)


def check(recipe: Recipe) -> DataFiles:
    """Refuse a recipe that does not fit its data, detectors or checkpoints, before anything is trained.

    A teacher that is still to be trained is built with random weights: what matters here is whether the pair fits.

    Raises:
        BadInput: names the field, the value and what would be right.
    """
    files = DataFiles.of(recipe)
    _check_length(recipe, files)
    for plan in recipe.stages:
        _check_stage(plan, files)  # one teacher at a time
    return files


def _check_stage(plan: StagePlan, files: DataFiles) -> None:
    with torch.random.fork_rng(devices=[]):
        teacher = _any_teacher(plan.recipe.teacher, files) if plan.recipe.teacher else None
        model = build_model(plan.recipe, files, teacher)
    _check_masks(files, {"student": model.student})
    if plan.recipe.adversarial.enabled and teacher is not None:  # the attack asks the teacher's whole loss
        _check_masks(files, {f"teacher {plan.teacher}, which adversarial.enabled attacks": teacher})


def _check_masks(files: DataFiles, detectors: Mapping[str, Any]) -> None:
    masked = [name for name, detector in detectors.items() if getattr(detector, "with_mask", False)]
    without = _boxes_without_mask(files.train, files.train.stat().st_mtime_ns) if masked else 0
    if without:
        raise BadInput(
            f"{files.train}: annotations: {without} boxes have no segmentation, which the {masked[0]} "
            f"({type(detectors[masked[0]]).__name__}) learns from; add it, or take a detector without a mask head"
        )


@lru_cache(maxsize=8)
def _boxes_without_mask(annotations: Path, stamp: int) -> int:
    found = json.loads(annotations.read_text())["annotations"]
    return sum(not annotation.get("segmentation") for annotation in found)


def _any_teacher(teacher: Teacher, files: DataFiles) -> torch.nn.Module:
    if teacher.checkpoint is not None:
        return load_teacher(teacher, teacher.checkpoint, files.classes)
    frozen: torch.nn.Module = freeze(build_detector(model_config(teacher, files.classes)))
    return frozen


def _check_length(recipe: Recipe, files: DataFiles) -> None:
    annotations = json.loads(files.train.read_text())["annotations"]
    images = len({annotation["image_id"] for annotation in annotations})
    if images == 0:
        raise BadInput(f"{files.train}: annotations: must hold a box; images without one are not trained on")
    per_epoch = math.ceil(images / recipe.schedule.batch_size)
    by_stage = recipe.schedule.policy.span == "stage"
    epochs = min(plan.epochs for plan in recipe.stages) if by_stage else recipe.total_epochs
    warmup, total = recipe.schedule.warmup.iterations, epochs * per_epoch
    if warmup >= total:
        raise BadInput(
            f"recipe {recipe.name}: schedule.warmup.iterations: must be below the {total} steps of "
            f"{'a stage' if by_stage else 'this training'} ({epochs} epochs of {per_epoch}), but got {warmup}"
        )


def teacher_recipe(recipe: Recipe, teacher: Teacher) -> Recipe:
    """Return the recipe that trains `teacher`: its own, with detector, data and device of the recipe it teaches in."""
    assert teacher.recipe is not None
    detector = teacher.model_dump(exclude={"recipe", "ap"})
    own = load_recipe(teacher.recipe).student_alone()
    return own.with_values({"student": detector, "data": recipe.data.model_dump(), "device": recipe.device})


def teacher_weights(recipe: Recipe, teacher: Teacher, files: DataFiles, progress: Notify | None) -> Path | str:
    """Return the teacher's checkpoint; train it from its own recipe when it has none."""
    if teacher.checkpoint is not None:
        return teacher.checkpoint
    training = teacher_recipe(recipe, teacher)
    content = training.effective() | {"data": files.fingerprint(), "classes": files.classes}
    folder = home() / "cache" / "teachers" / _digest(content)
    best, done = folder / "best.pth", folder / "done"
    with _lock(folder):
        if not done.is_file():
            _train_teacher(training, folder, progress)
            done.touch()
    return best


def _train_teacher(training: Recipe, folder: Path, progress: Notify | None) -> None:
    from ikd.training._trial import run_trial  # a teacher is a trial too

    def tell(epoch: Any) -> None:
        if progress is not None:
            progress(f"teacher {training.name}", epoch.epoch, training.total_epochs)

    try:
        run_trial(training, tell, resumable(folder), directory=folder)
    except CheckpointError:
        if resumable(folder) is None:
            raise
        run_trial(training, tell, directory=folder)  # written by another version: the cache is ours to make again


def _perturbations(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: Notify | None) -> Path:
    settings = recipe.attack
    attack = DIFGSM(
        eps=settings.eps,
        step=min(settings.step, settings.eps),  # eps 0 is no attack at all
        steps=settings.steps,
        momentum=settings.momentum,
        diversity_probability=settings.diversity.probability,
        diversity_min_scale=settings.diversity.min_scale,
        loss=settings.loss,
        published=settings.published,
        seed=recipe.seed,
    )
    source = TrainingImages(files.train, files.train_images, recipe.input.scale, recipe.input.keep_ratio)
    key = perturbation_key(teacher, source, attack, data_fingerprint=files.fingerprint())
    store = PerturbationStore(home() / "cache" / "perturbations", key)
    with _lock(store.folder):
        if not store.complete:
            generate(
                teacher,
                source,
                store,
                attack,
                batch_size=1 if settings.published else settings.batch_size,
                device=str(device_of(recipe)),
                progress=(lambda done, total: progress("perturbations", done, total)) if progress else None,
            )
    return store.folder


def teacher_boxes(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: Notify | None) -> Path:
    """Return the file of what a teacher sees in the training images; made once for teacher, data and input."""
    size = [list(recipe.input.scale), recipe.input.keep_ratio]
    key = _digest({"teacher": weights_sha256(teacher), "data": files.fingerprint(), "input": size})
    file = home() / "cache" / "boxes" / f"{key}.npz"
    with _lock(file):
        if not file.is_file():
            tell = (lambda done, total: progress("teacher's boxes", done, total)) if progress else None
            TeacherBoxes.write(file, find_boxes(recipe, files, teacher, tell))
    return file


def _lock(folder: Path) -> FileLock:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_suffix(".lock"))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
