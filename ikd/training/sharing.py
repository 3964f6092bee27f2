"""What trials share, made once: teacher weights and perturbations, in a cache keyed by content."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ikd.attack import (
    PerturbationStore,
    TrainingImages,
    attack_of,
    attacked_at_once,
    generate,
    make_room,
    perturbation_key,
    touch,
)
from ikd.augment import TeacherBoxes
from ikd.config import Recipe, StagePlan, Teacher
from ikd.data import DataFiles, perturbed
from ikd.detectors import weights_sha256
from ikd.distill import check_precision
from ikd.errors import CheckpointError, refuse
from ikd.evaluation import find_boxes
from ikd.home import cache, digest, entry
from ikd.training.checkpoint import resumable
from ikd.training.loaders import crafts_online
from ikd.training.model import load_teacher
from ikd.training.prepared import Prepared, PreparedStage, check, device_of, teacher_recipe
from ikd.training.trial import train
from ikd.training.worker_state import determinism, reset, settle
from ikd.trial import EpochReport, NotifyOf, TrialFolder


def prepare(recipe: Recipe, progress: NotifyOf | None = None) -> Prepared:
    """Check the recipe against its data and detectors, and make what it needs; what is there is found, not made again.

    Safe to call from several processes: one makes an entry, the others wait for it. One teacher is in memory at a time.

    Raises:
        BadInput: data, detectors or checkpoints that do not fit, before anything is trained.
    """
    settle()
    check_precision(recipe, device_of(recipe))
    try:
        files = check(recipe, device_of(recipe))
        with determinism(recipe):
            return Prepared(files, tuple(_stage(recipe, plan, files, progress) for plan in recipe.stages))
    finally:
        reset()  # the attack's memory on a GPU is a neighbour's while the trial runs


def perturb(recipe: Recipe, progress: NotifyOf | None = None) -> dict[str, Path]:
    """Make the perturbations of a recipe's teachers; return their folders by teacher, where a stage uses them.

    Raises:
        BadInput: see `prepare`; the recipe makes them while it trains.
    """
    if crafts_online(recipe):
        rule = "must be disk to make perturbations before the training"
        refuse(f"recipe {recipe.name}: attack.store", rule, recipe.attack.store)
    stages = zip(recipe.stages, prepare(recipe, progress).stages, strict=True)
    return {
        plan.teacher: made.perturbations
        for plan, made in stages
        if plan.teacher is not None and made.perturbations is not None
    }


def _stage(recipe: Recipe, plan: StagePlan, files: DataFiles, progress: NotifyOf | None) -> PreparedStage:
    if plan.teacher is None:
        return PreparedStage()
    teacher = recipe.teachers.available[plan.teacher]
    weights = teacher_weights(recipe, teacher, files, progress)
    perturbations, boxes, seconds = None, None, 0.0
    if plan.recipe.adversarial.enabled and not crafts_online(plan.recipe):
        perturbations, seconds = _perturbations(plan.recipe, files, _loaded(recipe, teacher, weights, files), progress)
    if plan.boxes_from is not None:
        seeing = recipe.teachers.available[plan.boxes_from]
        seen_by = _loaded(recipe, seeing, teacher_weights(recipe, seeing, files, progress), files)
        boxes = teacher_boxes(recipe, files, seen_by, progress)
    return PreparedStage(weights, perturbations, boxes, seconds)


def _loaded(recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles) -> torch.nn.Module:
    return load_teacher(teacher, weights, files.classes).to(device_of(recipe))


def teacher_weights(recipe: Recipe, teacher: Teacher, files: DataFiles, progress: NotifyOf | None) -> Path | str:
    """Return the teacher's checkpoint; train it from its own recipe when it has none."""
    if teacher.checkpoint is not None:
        return teacher.checkpoint
    training = teacher_recipe(recipe, teacher)
    content = training.effective() | {"data": files.fingerprint(), "classes": files.classes}
    with entry("teachers", digest(content)) as folder:
        done = folder / "done"
        if not done.is_file():
            _train_teacher(training, folder, progress)
            done.touch()
    return TrialFolder(folder).best


def _train_teacher(training: Recipe, folder: Path, progress: NotifyOf | None) -> None:
    def tell(epoch: EpochReport) -> None:
        if progress is not None:
            progress(f"teacher {training.name}", epoch.epoch, training.total_epochs)

    alone = Prepared(DataFiles.of(training), (PreparedStage(),))  # `check` has tried this training
    run = partial(train, training, tell, directory=folder, prepared=alone)
    try:
        run(resumable(folder))
    except CheckpointError:
        if resumable(folder) is None:
            raise
        run()  # written by another version: the cache is ours to make again


def _perturbations(
    recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: NotifyOf | None
) -> tuple[Path, float]:
    """Return the folder of the perturbations, and the seconds that making them took."""
    seconds = 0.0
    attack = attack_of(recipe)
    source = TrainingImages.of(recipe, files.train, files.train_images)
    key = perturbation_key(teacher, source, attack, data_fingerprint=files.fingerprint())
    store = PerturbationStore(cache("perturbations"), key)
    with entry("perturbations", store.folder.name):
        if not store.complete:
            began = time.perf_counter()
            make_room(perturbed(source.annotations, source.input_size, source.keep_ratio).bytes)
            generate(
                teacher,
                source,
                store,
                attack,
                batch_size=attacked_at_once(recipe),
                workers=recipe.schedule.workers,
                device=str(device_of(recipe)),
                progress=(lambda done, total: progress("perturbations", done, total)) if progress else None,
            )
            seconds = time.perf_counter() - began
        touch(store.folder)
    return store.folder, seconds


def teacher_boxes(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: NotifyOf | None) -> Path:
    """Return the file of what a teacher sees in the training images; made once for teacher, data and input."""
    size: list[Any] = [list(recipe.input.scale), recipe.input.keep_ratio]
    size += [recipe.data.orientation] if recipe.data.orientation != "apply" else []  # files made before it had none
    key = digest({"teacher": weights_sha256(teacher), "data": files.fingerprint(), "input": size})
    with entry("boxes", f"{key}.npz") as file:
        if not file.is_file():
            tell = (lambda done, total: progress("teacher's boxes", done, total)) if progress else None
            TeacherBoxes.write(file, find_boxes(recipe, files, teacher, tell))
    return file
