"""What trials share, made once: teacher weights and perturbations, in a cache keyed by content."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
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
from ikd.data import DataFiles, indexed, perturbed, told_when_lost
from ikd.detectors import boxes_only, fetch, weights_sha256
from ikd.distill import check_precision
from ikd.errors import CheckpointError, DataError, refuse
from ikd.evaluation import bound_boxes, find_boxes, run
from ikd.files import sha256, write_text
from ikd.home import cache, digest, entry
from ikd.training.checkpoint import resumable
from ikd.training.loaders import crafts_online, val_loader
from ikd.training.model import load_teacher, model_config
from ikd.training.prepared import CPU, Prepared, PreparedStage, check, device_of, teacher_recipe
from ikd.training.rehearsal.record import rehearsal_key
from ikd.training.trial import train
from ikd.training.worker_state import determinism, reset, settle
from ikd.trial import TRAIN_SECONDS, VAL_SECONDS, EpochReport, Notify, NotifyOf, Shared, TrialFolder, said_of

_SCORE = 1  # raise when another number is measured


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
        with determinism(recipe), told_when_lost(recipe):
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
    watched = (lambda done, total: progress(f"mAP of teacher {plan.teacher}", done, total)) if progress else None
    score = _score(recipe, teacher, weights, files, watched)
    perturbations, boxes, seconds = None, None, 0.0
    if plan.recipe.adversarial.enabled and not crafts_online(plan.recipe):
        perturbations, seconds = _perturbations(plan.recipe, files, _loaded(recipe, teacher, weights, files), progress)
    if plan.boxes_from is not None:
        seeing = recipe.teachers.available[plan.boxes_from]
        seen_by = _loaded(recipe, seeing, teacher_weights(recipe, seeing, files, progress), files)
        boxes = teacher_boxes(recipe, files, seen_by, progress)
    return PreparedStage(weights, perturbations, boxes, seconds, score)


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
        0..1; None where the checkpoint cannot be read, which is refused when it is loaded for the training.
    """
    try:
        source = weights if isinstance(weights, Path) else _local(weights)
        content = {
            "format": _SCORE,
            "weights": sha256(source),
            "detector": repr(model_config(teacher, files.classes).to_dict()),
            "data": files.seen.val.fingerprint,
            "classes": files.classes,
            "input": [list(recipe.input.scale), recipe.input.keep_ratio, recipe.data.orientation],
        }
        with entry("scores", f"{digest(content)}.json") as file:
            if not file.is_file():
                write_text(file, json.dumps({"bbox_mAP": _measured(recipe, teacher, weights, files, progress)}))
            return float(json.loads(file.read_text())["bbox_mAP"])
    except (CheckpointError, OSError):
        return None


def _local(weights: str) -> Path:
    """Return the file of a checkpoint, downloaded where it is a URL."""
    return fetch(weights, cache("checkpoints")) if "://" in weights else Path(weights).expanduser()


def _measured(
    recipe: Recipe, teacher: Teacher, weights: Path | str, files: DataFiles, progress: Notify | None
) -> float:
    with torch.random.fork_rng(devices=[]):
        detector = load_teacher(teacher, weights, files.classes).to(device_of(recipe))
        with DefaultScope.overwrite_default_scope("mmdet"), contextlib.redirect_stdout(io.StringIO()):
            loader = Runner.build_dataloader(val_loader(recipe, files, detector))
        with boxes_only(detector):
            metrics = run(detector, loader, files.val, kinds=("bbox",), progress=progress)
    return metrics["bbox_mAP"]


def teacher_weights(recipe: Recipe, teacher: Teacher, files: DataFiles, progress: NotifyOf | None) -> Path | str:
    """Return the teacher's checkpoint; train it from its own recipe when it has none."""
    if teacher.checkpoint is not None:
        return teacher.checkpoint
    training = teacher_recipe(recipe, teacher)
    with entry("teachers", _name_of(training, files)) as folder:
        done = folder / "done"
        if not done.is_file():
            _train_teacher(training, folder, progress)
            done.touch()
    return TrialFolder(folder).best


def _name_of(training: Recipe, files: DataFiles) -> str:
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
    seconds = 0.0
    attack, source = attack_of(recipe), _attacked(recipe, files)
    store = _store(recipe, files, teacher)
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
                progress=(lambda done, total: progress(said_of("perturbations", ""), done, total))
                if progress
                else None,
            )
            seconds = time.perf_counter() - began
        touch(store.folder)
    return store.folder, seconds


def teacher_boxes(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module, progress: NotifyOf | None) -> Path:
    """Return the file of what a teacher sees in the training images; made once for teacher, data and input."""
    with entry("boxes", _boxes_name(recipe, files, teacher)) as file:
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


def _boxes_name(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module) -> str:
    size: list[Any] = [list(recipe.input.scale), recipe.input.keep_ratio]
    size += [recipe.data.orientation] if recipe.data.orientation != "apply" else []  # files made before it had none
    return f"{digest({'teacher': weights_sha256(teacher), 'data': files.fingerprint(), 'input': size})}.npz"


def _attacked(recipe: Recipe, files: DataFiles) -> TrainingImages:
    return TrainingImages.of(recipe, files.train, files.train_images)


def _store(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module) -> PerturbationStore:
    fingerprint = files.fingerprint()
    key = perturbation_key(teacher, _attacked(recipe, files), attack_of(recipe), data_fingerprint=fingerprint)
    return PerturbationStore(cache("perturbations"), key)


def found(recipe: Recipe) -> tuple[Shared, ...]:
    """Return what `prepare` would do once for a recipe, and how much of it is done; makes nothing.

    Rehearsals come last, as on a CPU. Where a teacher's checkpoint lies on this machine it is loaded, to see whether
    something was made with its weights.

    Raises:
        BadInput: data or checkpoints that do not fit.
    """
    files = DataFiles.of(recipe)
    told: dict[tuple[str, str], Shared] = {}
    for plan in recipe.stages:
        names = [name for name in (plan.teacher, plan.boxes_from) if name is not None]
        at = {name: _found_teacher(recipe, name, files) for name in names}
        every = [shared for shared, _ in at.values() if shared is not None]
        if plan.teacher is not None and plan.recipe.adversarial.enabled and not crafts_online(plan.recipe):
            every.append(_found_perturbations(plan, files, at[plan.teacher][1]))
        if plan.boxes_from is not None:
            every.append(_found_boxes(recipe, plan.boxes_from, files, at[plan.boxes_from][1]))
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
    folder = TrialFolder(cache("teachers") / _name_of(training, files))
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
        store = _store(plan.recipe, files, teacher)
        done = 2 * count if store.complete else min(len(store), count)
    return Shared("perturbations", plan.teacher, done, 2 * count)


def _found_boxes(recipe: Recipe, name: str, files: DataFiles, weights: Path | None) -> Shared:
    count, done = len(indexed(files.train)), 0
    if weights is not None:
        teacher = load_teacher(recipe.teachers.available[name], weights, files.classes)
        done = count if (cache("boxes") / _boxes_name(recipe, files, teacher)).is_file() else 0
    return Shared("boxes", name, done, count)
