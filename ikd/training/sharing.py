"""What trials share, made once: teacher weights and perturbations, in a cache keyed by content."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from ikd.attack import DIFGSM, PerturbationStore, TrainingImages, generate, perturbation_key
from ikd.augment import TeacherBoxes
from ikd.config import Recipe, StagePlan, Teacher, load_recipe
from ikd.data import DataFiles
from ikd.detectors import weights_sha256
from ikd.errors import CheckpointError
from ikd.evaluation import find_boxes
from ikd.home import cache, digest, entry
from ikd.training.checkpoint import resumable
from ikd.training.model import load_teacher
from ikd.training.prepared import Prepared, PreparedStage, check, device_of
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
    try:
        files = check(recipe)
        with determinism(recipe):
            return Prepared(files, tuple(_stage(recipe, plan, files, progress) for plan in recipe.stages))
    finally:
        reset()  # the attack's memory on a GPU is a neighbour's while the trial runs


def perturb(recipe: Recipe, progress: NotifyOf | None = None) -> dict[str, Path]:
    """Make the perturbations of a recipe's teachers; return their folders by teacher, where a stage uses them.

    Raises:
        BadInput: see `prepare`.
    """
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


def teacher_recipe(recipe: Recipe, teacher: Teacher) -> Recipe:
    """Return the recipe that trains `teacher`: its own, with detector, data and device of the recipe it teaches in."""
    assert teacher.recipe is not None
    detector = teacher.model_dump(exclude={"recipe", "ap"})
    own = load_recipe(teacher.recipe).student_alone()
    return own.with_values({"student": detector, "data": recipe.data.model_dump(), "device": recipe.device})


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

    alone = Prepared(check(training), (PreparedStage(),))
    run = partial(train, training, tell, directory=folder, prepared=alone)
    try:
        run(resumable(folder))
    except CheckpointError:
        if resumable(folder) is None:
            raise
        run()  # written by another version: the cache is ours to make again


def _perturbations(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: NotifyOf | None) -> Path:
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
    store = PerturbationStore(cache("perturbations"), key)
    with entry("perturbations", store.folder.name):
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


def teacher_boxes(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: NotifyOf | None) -> Path:
    """Return the file of what a teacher sees in the training images; made once for teacher, data and input."""
    size = [list(recipe.input.scale), recipe.input.keep_ratio]
    key = digest({"teacher": weights_sha256(teacher), "data": files.fingerprint(), "input": size})
    with entry("boxes", f"{key}.npz") as file:
        if not file.is_file():
            tell = (lambda done, total: progress("teacher's boxes", done, total)) if progress else None
            TeacherBoxes.write(file, find_boxes(recipe, files, teacher, tell))
    return file
