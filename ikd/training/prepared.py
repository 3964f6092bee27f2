"""What a trial starts from, and whether a recipe fits its data and detectors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ikd.config import HOSTS, Recipe, StagePlan, Teacher, compares_maps, load_recipe, sees_unlabelled
from ikd.data import DataFiles, DataReport, SplitReport, check_recipe_data, indexed
from ikd.detectors import build_detector, freeze, has_masks, quiet
from ikd.errors import BadInput, refuse, within
from ikd.training.hooks import instances_of
from ikd.training.levels import choose_levels
from ikd.training.model import build_stage_model
from ikd.training.optim import check_parts, falling
from ikd.training.rehearsal.stage import rehearse
from ikd.training.teachers.loading import load_teacher, model_config
from ikd.training.unlabelled.batches import draws_of
from ikd.training.unlabelled.making import check_labels

CPU = torch.device("cpu")


@dataclass(frozen=True)
class PreparedStage:
    """What one stage starts from.

    Attributes:
        weights: the teacher's checkpoint; None when the student trains alone.
        perturbations: folder of the store; None without the adversarial term.
        boxes: file of the boxes that drive masking enhancement; None without it.
        labels: folder of the teacher's labels; None without them.
        attack_seconds: what making the perturbations took; 0 where they were there.
        score: bbox_mAP of the teacher on the validation part, 0..1; None when the student trains alone.
        beside: of several teachers at once what those after the first start from, in order.
    """

    weights: Path | str | None = None
    perturbations: Path | None = None
    boxes: Path | None = None
    attack_seconds: float = 0.0
    score: float | None = None
    labels: Path | None = None
    beside: tuple[PreparedStage, ...] = ()

    @classmethod
    def together(cls, parts: Iterable[PreparedStage]) -> PreparedStage:
        """Return what a stage starts from, by what that of each of its teachers does, in order."""
        first, *others = parts
        return replace(first, beside=tuple(others))

    @property
    def each(self) -> tuple[PreparedStage, ...]:
        """What the stage of each teacher starts from, in order; see `StagePlan.each`."""
        return (self, *self.beside)

    @property
    def stores(self) -> list[Path]:
        """Folders of the perturbations, in the order of the teachers."""
        return [one.perturbations for one in self.each if one.perturbations is not None]


@dataclass(frozen=True)
class Prepared:
    """What one trial starts from."""

    files: DataFiles
    stages: tuple[PreparedStage, ...]

    def each_teacher(self, recipe: Recipe) -> Iterator[tuple[StagePlan, PreparedStage]]:
        """Yield the plan of each teacher of a recipe and what it starts from; of a student alone, of none."""
        made = (one for stage in self.stages for one in stage.each)
        pairs = zip(recipe.each_teacher, made, strict=True)
        return ((plan, one) for plan, one in pairs if plan.teacher is not None)


def device_of(recipe: Recipe) -> torch.device:
    """Return the device a recipe trains on."""
    if recipe.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(recipe.device)


@quiet()
def check(recipe: Recipe, device: torch.device = CPU) -> DataFiles:
    """Refuse a recipe that does not fit its data, detectors or checkpoints, before anything is trained.

    Each stage is built and rehearsed on two images, and so is the training of each teacher that has no checkpoint yet:
    such a teacher has random weights, as what matters here is whether the pair fits and can make a step.

    Args:
        recipe: what would be trained.
        device: where to rehearse; a sweep's driver leaves the GPU to the trials.

    Raises:
        BadInput: names the field, the value and what would be right.
    """
    data = check_recipe_data(recipe)
    data.raise_for_errors()
    files = DataFiles.of(recipe)
    _check_length(recipe, data.splits["train"])
    _check_outlines(recipe, data.splits["train"])
    for plan in recipe.stages:
        if plan.recipe.distill.prototypes.enabled:
            instances_of(plan.recipe, indexed(files.train))
        _check_stage(plan, files, data, device, sees=any(other.boxes_from == plan.teacher for other in recipe.stages))
    for name in dict.fromkeys(stage.teacher for stage in recipe.teachers.stages):
        teacher = recipe.teachers.available[name]
        if teacher.checkpoint is None:
            _check_teacher_training(recipe, name, device)
    return files


def teacher_recipe(recipe: Recipe, teacher: Teacher) -> Recipe:
    """Return the recipe that trains `teacher`: its own, with detector, data and device of the recipe it teaches in."""
    assert teacher.recipe is not None
    detector = teacher.model_dump(exclude={"recipe", "ap", "classes", "class_map"})
    own = load_recipe(teacher.recipe).student_alone()
    return own.with_values({"student": detector, "data": recipe.data.model_dump(), "device": recipe.device})


def _check_teacher_training(recipe: Recipe, name: str, device: torch.device) -> None:
    place = f"recipe {recipe.name}: teachers.available.{name}"
    try:
        training = teacher_recipe(recipe, recipe.teachers.available[name])
    except BadInput as error:
        raise BadInput(f"{place}.recipe: {error}") from error
    try:
        check(training, device)
    except BadInput as error:
        raise BadInput(f"{place}, which has no checkpoint and would be trained: {error}") from error


def _check_stage(plan: StagePlan, files: DataFiles, data: DataReport, device: torch.device, *, sees: bool) -> None:
    with torch.random.fork_rng(devices=[]), within(f"recipe {plan.recipe.name}"):
        teachers = [_untrained(one, files) for one in plan.each if one.teacher is not None]
        model = build_stage_model(plan, files, teachers)
        for teacher in teachers[:1]:  # labels are the first one's
            check_labels(plan, teacher)
        check_parts(plan.recipe, model)
    _check_masks(data.splits["train"], "student", model.student)
    if "segm" in plan.recipe.validate:
        if not has_masks(model.student):
            rule = f"must not hold segm: the student, a {type(model.student).__name__}, predicts no masks"
            refuse(f"recipe {plan.recipe.name}: validate", rule, list(plan.recipe.validate))
        _check_masks(data.splits["val"], "student, whose masks are validated", model.student)
    for name, teacher in zip(plan.teachers, teachers, strict=True):
        if plan.recipe.adversarial.enabled:  # the attack asks the teacher's whole loss
            _check_masks(data.splits["train"], f"teacher {name}, which adversarial.enabled attacks", teacher)
    rehearse(plan, files, model, teachers, device=device, sees=sees and bool(teachers))


def _untrained(plan: StagePlan, files: DataFiles) -> Any:
    """Return the teacher of a stage; of random weights where it has no checkpoint yet."""
    chosen = plan.recipe.teacher
    assert chosen is not None
    field = f"teachers.available.{plan.teacher}"
    if chosen.checkpoint is not None:
        return load_teacher(chosen, chosen.checkpoint, files.classes, field=field)
    with within(field):
        return freeze(build_detector(model_config(chosen, files.classes)))


def said_of_levels(recipe: Recipe) -> list[str]:
    """Return what a person is told of the levels that each stage distils; no weights are read.

    Raises:
        BadInput: as `check` does.
    """
    files, said = DataFiles.of(recipe), []
    for plan in recipe.each_teacher:
        chosen = plan.recipe.teacher
        if chosen is not None and compares_maps(plan.recipe):
            sides = [one.model_copy(update={"pretrained_backbone": False}) for one in (plan.recipe.student, chosen)]
            with torch.random.fork_rng(devices=[]):
                pair = [build_detector(model_config(one, files.classes)) for one in sides]
            said.append(choose_levels(plan.recipe, files, *pair).said)
    return list(dict.fromkeys(filter(None, said)))


def _check_masks(part: SplitReport, who: str, detector: Any) -> None:
    if has_masks(detector) and part.without_mask:
        raise BadInput(
            f"{part.annotations}: annotations: {part.without_mask} boxes have no segmentation that gives a mask, "
            f"which is needed for the {who} ({type(detector).__name__}); mend them (see `ikd data check`), or take "
            "a detector without a mask head"
        )


def _check_outlines(recipe: Recipe, part: SplitReport) -> None:
    pasting = recipe.input.copy_paste
    if pasting.enabled and pasting.by == "mask" and part.without_mask:
        rule = f"needs a segmentation of every box that gives a mask, which {part.without_mask} boxes of "
        rule += f"{part.annotations} lack"
        refuse(f"recipe {recipe.name}: input.copy_paste.by", rule, pasting.by, "mend it, or paste by box")


def _check_length(recipe: Recipe, part: SplitReport) -> None:
    per_epoch = math.ceil(part.taught.taught_images / recipe.schedule.batch_size)
    by_stage = recipe.schedule.policy.span == "stage"
    epochs = min(plan.epochs for plan in recipe.stages) if by_stage else recipe.total_epochs
    warmup, total = recipe.schedule.warmup.iterations, epochs * per_epoch
    if warmup >= total:
        raise BadInput(
            f"recipe {recipe.name}: schedule.warmup.iterations: must be below the {total} steps of "
            f"{'a stage' if by_stage else 'this training'} ({epochs} epochs of {per_epoch}), but got {warmup}"
        )
    begin, end = falling(recipe, total)
    if recipe.schedule.policy.type == "cosine" and begin >= end:
        field = f"recipe {recipe.name}: schedule.policy.tail"
        rule = f"must begin after warm-up and schedule.policy.start, which last for {begin} of {total} steps"
        refuse(field, rule, recipe.schedule.policy.tail)
    for plan in recipe.each_teacher:
        _check_rise(plan, per_epoch)
        _check_ratio(plan, part.taught.taught_images)


def _check_rise(plan: StagePlan, per_epoch: int) -> None:
    """Refuse a host or labels that would not come to their weight before their stage ends."""
    host, steps = plan.recipe.distill.host, plan.epochs * per_epoch
    warmup = getattr(plan.recipe.distill, host).warmup if host != "none" and HOSTS[host].rises else 0
    rise = {f"distill.{host}.warmup": warmup}
    if sees_unlabelled(plan.recipe):
        rise["distill.labels.warmup"] = plan.recipe.distill.labels.warmup
    for field, length in rise.items():
        if length >= steps:
            rule = f"must be below the {steps} steps of the stage ({plan.epochs} epochs of {per_epoch})"
            refuse(f"recipe {plan.recipe.name}: {field}", rule, length, "the loss would never act whole")


def _check_ratio(plan: StagePlan, images: int) -> None:
    """Refuse a share of photographs without labels by which none of them ever comes."""
    ratio = plan.recipe.distill.labels.ratio
    if sees_unlabelled(plan.recipe) and not draws_of(images, ratio):
        rule = f"must be at least {0.5 / images:.1g} for one photograph to come with the {images} images of an epoch"
        refuse(f"recipe {plan.recipe.name}: distill.labels.ratio", rule, ratio)
