"""What trials share, made once: teacher weights and perturbations, in a cache keyed by content."""

from __future__ import annotations

import contextlib
import io
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ikd.attack import (
    PerturbationStore,
    TrainingImages,
    adopt,
    attack_of,
    attacked_at_once,
    generate,
    make_room,
    perturbation_key,
    touch,
)
from ikd.augment import TeacherBoxes, boxes_by_id
from ikd.config import Recipe, StagePlan, Teacher
from ikd.data import DataFiles, perturbed, told_when_lost
from ikd.detectors import boxes_only, fetch, quiet, weights_sha256
from ikd.distill import check_precision
from ikd.errors import CheckpointError, DataError, IkdError, refuse
from ikd.evaluation import bound_boxes, find_boxes, run
from ikd.files import parsed, sha256, write_text
from ikd.home import cache, digest, entry
from ikd.training.checkpoint import resumable
from ikd.training.loaders import crafts_online, val_loader
from ikd.training.prepared import Prepared, PreparedStage, check, device_of, teacher_recipe
from ikd.training.teachers.loading import load_teacher, model_config
from ikd.training.trial import train
from ikd.training.unlabelled.making import teacher_labels
from ikd.training.worker_state import determinism, reset, settle
from ikd.trial import EpochReport, Notify, NotifyOf, StopTrial, TrialFolder, said_of

_SCORE = 1  # raise when another number is measured


@quiet()
def prepare(recipe: Recipe, progress: NotifyOf | None = None) -> Prepared:
    """Check the recipe against its data and detectors, and make what it needs; what is there is found, not made again.

    Safe to call from several processes: one makes an entry, the others wait for it. One teacher is in memory at a time.

    Raises:
        BadInput: data, detectors or checkpoints that do not fit, before anything is trained.
        DataGone: the data set has vanished, in whole or in part.
    """
    settle()
    check_precision(recipe, device_of(recipe))
    try:
        files = check(recipe, device_of(recipe))
        with determinism(recipe), told_when_lost(recipe, files.photographs):
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
    each = prepare(recipe, progress).each_teacher(recipe)
    return {str(plan.teacher): made.perturbations for plan, made in each if made.perturbations is not None}


def _stage(recipe: Recipe, plan: StagePlan, files: DataFiles, progress: NotifyOf | None) -> PreparedStage:
    if plan.teacher is None:
        return PreparedStage()
    return PreparedStage.together(_taught(recipe, one, files, progress) for one in plan.each)


def _taught(recipe: Recipe, plan: StagePlan, files: DataFiles, progress: NotifyOf | None) -> PreparedStage:
    """Make what a stage needs of one of its teachers."""
    assert plan.teacher is not None
    teacher = recipe.teachers.available[plan.teacher]
    weights = teacher_weights(recipe, teacher, files, progress)
    watched = (lambda done, total: progress(f"mAP of teacher {plan.teacher}", done, total)) if progress else None
    score = _score(recipe, teacher, weights, files, watched)
    perturbations, boxes, seconds = None, None, 0.0
    if plan.recipe.adversarial.enabled and not crafts_online(plan.recipe):
        perturbations, seconds = _perturbations(plan.recipe, files, _loaded(recipe, teacher, weights, files), progress)
    if plan.boxes_from is not None:
        seeing = recipe.teachers.available[plan.boxes_from]
        seen_by = _loaded(recipe, seeing, teacher_weights(recipe, seeing, files, progress), files)
        boxes = teacher_boxes(recipe, files, seen_by, progress)
    labels = None
    if plan.recipe.distill.labels.enabled:
        tell = (lambda done, total: progress(said_of("labels", ""), done, total)) if progress else None
        labels = teacher_labels(plan.recipe, teacher, files, _loaded(recipe, teacher, weights, files), tell)
    return PreparedStage(weights, perturbations, boxes, seconds, score, labels)


def _loaded(recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles) -> torch.nn.Module:
    return load_teacher(teacher, weights, files.classes).to(device_of(recipe))


def _score(
    recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles, progress: Notify | None
) -> float | None:
    """Return a teacher's bbox_mAP on the validation part at the size that it teaches at; measured once for its content.

    Args:
        recipe: says the size of the images, and the device.
        teacher: which detector it is.
        weights: its checkpoint.
        files: data of the recipe.
        progress: called with images done and images to do, where it is measured now.

    Returns:
        0..1; None where the checkpoint cannot be read, which is refused when it is loaded for the training, and where
        the teacher predicts no boxes, or none at this size: its maps teach all the same.
    """
    if teacher.classes == "own":
        return None  # its boxes are of other classes
    try:
        source = weights if isinstance(weights, Path) else local_file(weights)
        content = {
            "format": _SCORE,
            "weights": sha256(source),
            "detector": repr(model_config(teacher, files.classes).to_dict()),
            "data": files.seen.val.fingerprint,
            "classes": files.classes,
            "input": [list(recipe.input.scale), recipe.input.keep_ratio, recipe.data.orientation],
        }
        if teacher.class_map is not None:
            content["class_map"] = [teacher.classes, teacher.class_map]
        with entry("scores", f"{digest(content)}.json") as file:
            if not file.is_file():
                write_text(file, json.dumps({"bbox_mAP": _measured(recipe, teacher, weights, files, progress)}))
            score = parsed(file.read_text())["bbox_mAP"]
            return None if score is None else float(score)
    except (CheckpointError, OSError):
        return None


def local_file(weights: str) -> Path:
    """Return the file of a checkpoint, downloaded where it is a URL."""
    return fetch(weights, cache("checkpoints")) if "://" in weights else Path(weights).expanduser()


def _measured(
    recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles, progress: Notify | None
) -> float | None:
    with torch.random.fork_rng(devices=[]):
        detector = load_teacher(teacher, weights, files.classes).to(device_of(recipe))
        with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
            loader = Runner.build_dataloader(val_loader(recipe, files, detector))
        with boxes_only(detector):
            try:
                return run(detector, loader, files.val, kinds=("bbox",), progress=progress)["bbox_mAP"]
            except (IkdError, OSError, StopTrial, torch.cuda.OutOfMemoryError):
                raise
            except Exception:  # a detector that cannot predict raises anything
                return None


def teacher_weights(recipe: Recipe, teacher: Teacher, files: DataFiles, progress: NotifyOf | None) -> Path | str:
    """Return the teacher's checkpoint; train it from its own recipe when it has none."""
    if teacher.checkpoint is not None:
        return teacher.checkpoint
    training = teacher_recipe(recipe, teacher)
    with entry("teachers", name_of(training, files)) as folder:
        done = folder / "done"
        if not done.is_file():
            _train_teacher(training, folder, progress)
            done.touch()
    return TrialFolder(folder).best


def name_of(training: Recipe, files: DataFiles) -> str:
    """Return what a teacher is kept by: its training, and of the data their content and how they are read."""
    acting = training.effective()
    read = {key: value for key, value in acting["data"].items() if key not in ("root", "train", "val")}
    shown = {"data": files.fingerprint(), "classes": files.classes}
    return digest(acting | shown | ({"read": read} if read else {}))


def _train_teacher(training: Recipe, folder: Path, progress: NotifyOf | None) -> None:
    def say(epochs: int) -> None:
        if progress is not None:
            progress(said_of("teacher", training.name), epochs, training.total_epochs)

    def tell(epoch: EpochReport) -> None:
        say(epoch.epoch)

    say(max(TrialFolder(folder).logged(), default=0))  # a teacher's first epoch may take minutes
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
    store, seconds = perturbed_images(recipe, _attacked(recipe, files), files.fingerprint(), teacher, progress)
    return store.folder, seconds


def perturbed_images(
    recipe: Recipe, source: TrainingImages, content: str, teacher: torch.nn.Module, progress: NotifyOf | None
) -> tuple[PerturbationStore, float]:
    """Perturb images against a teacher by the attack of a recipe, where that is not done yet.

    Args:
        recipe: says how; its section `adversarial` may be off.
        source: the images.
        content: fingerprint of the data that they are of.
        teacher: frozen.
        progress: told how many images are done.

    Returns:
        The complete store, and the seconds that making it took; 0 where it was there.
    """
    seconds, attack = 0.0, attack_of(recipe)
    store = _store(recipe, source, content, teacher)
    with entry("perturbations", store.folder.name):
        if not store.complete and not adopt(store, source):
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
                measures=recipe.teacher is None or recipe.teacher.classes != "own",
                progress=(lambda done, total: progress(said_of("perturbations", ""), done, total))
                if progress
                else None,
            )
            seconds = time.perf_counter() - began
        touch(store.folder)
    return store, seconds


def teacher_boxes(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: NotifyOf | None) -> Path:
    """Return the file of what a teacher sees in the training images; made once for teacher, data and input."""
    with entry("boxes", boxes_name(recipe, files, teacher)) as file:
        if not file.is_file() or not _named_by_content(file, recipe, files, teacher):
            tell = (lambda done, total: progress(said_of("boxes", ""), done, total)) if progress else None
            TeacherBoxes.write(file, find_boxes(recipe, files, teacher, tell))
    return file


def _named_by_content(file: Path, recipe: Recipe, files: DataFiles, teacher: torch.nn.Module) -> bool:
    """Whether a file of boxes says of which images they are, or can be made to: before, it said ids alone."""
    with contextlib.suppress(DataError):
        TeacherBoxes(file)
        return True
    with contextlib.suppress(DataError):
        if (bound := bound_boxes(recipe, files, teacher, boxes_by_id(file))) is not None:
            TeacherBoxes.write(file, bound)
            return True
    return False


def boxes_name(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module) -> str:
    """Return the name of the file of what a teacher sees in the training images."""
    size: list[Any] = [list(recipe.input.scale), recipe.input.keep_ratio]
    size += [recipe.data.orientation] if recipe.data.orientation != "apply" else []  # files made before it had none
    return f"{digest({'teacher': weights_sha256(teacher), 'data': files.fingerprint(), 'input': size})}.npz"


def _attacked(recipe: Recipe, files: DataFiles) -> TrainingImages:
    return TrainingImages.of(recipe, files.train, files.train_images)


def store_of(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module) -> PerturbationStore:
    """Return the store of a teacher's perturbations, made or not."""
    return _store(recipe, _attacked(recipe, files), files.fingerprint(), teacher)


def _store(recipe: Recipe, source: TrainingImages, content: str, teacher: torch.nn.Module) -> PerturbationStore:
    key = perturbation_key(teacher, source, attack_of(recipe), data_fingerprint=content)
    return PerturbationStore(cache("perturbations"), key)
