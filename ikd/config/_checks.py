"""Rules that tie several fields of a recipe together; each fault names the one field to change."""

from __future__ import annotations

from collections.abc import Iterator

from ikd.config._recipe import DRAWN, Recipe
from ikd.config._yaml import Document, Location
from ikd.errors import Problem

Fault = tuple[Location, object, str]


def check_recipe(recipe: Recipe, document: Document) -> list[Problem]:
    """Return the faults between fields of a recipe."""
    faults = [*_teacher_faults(recipe), *_detector_faults(recipe), *_other_faults(recipe)]
    return [document.problem(location, value, rule) for location, value, rule in faults]


def _teacher_faults(recipe: Recipe) -> Iterator[Fault]:
    sequence, available = recipe.teachers.sequence, recipe.teachers.available
    for index, name in enumerate(sequence):
        if name not in available:
            known = ", ".join(available) or "none is defined"
            yield ("teachers", "sequence", index), name, f"must be a name under teachers.available ({known})"
    if len(sequence) > 1:
        yield ("teachers", "sequence"), list(sequence), "must hold at most one teacher"
    if sequence:
        return
    if recipe.distill.host != "none":
        yield ("distill", "host"), recipe.distill.host, "needs a teacher in teachers.sequence, or must be none"
    if recipe.adversarial.enabled:
        yield ("adversarial", "enabled"), True, "needs a teacher in teachers.sequence, or must be false"
    if recipe.student.inherit:
        yield ("student", "inherit"), True, "needs a teacher in teachers.sequence, or must be false"


def _detector_faults(recipe: Recipe) -> Iterator[Fault]:
    named = {("student",): recipe.student} | {
        ("teachers", "available", k): v for k, v in recipe.teachers.available.items()
    }
    for location, detector in named.items():
        shipped = isinstance(detector.config, str) and detector.config.startswith("ikd::")
        if detector.arguments and not shipped:
            yield (
                (*location, "arguments"),
                detector.arguments,
                "goes only with a shipped detector (config: ikd::...); use overrides",
            )
    for name, teacher in recipe.teachers.available.items():
        if teacher.checkpoint is None and teacher.recipe is None and name in recipe.teachers.sequence:
            yield ("teachers", "available", name), None, "needs a checkpoint, or a recipe that trains it"


def _other_faults(recipe: Recipe) -> Iterator[Fault]:
    if recipe.adversarial.enabled and recipe.attack.step > recipe.attack.eps > 0:
        yield ("attack", "step"), recipe.attack.step, f"must be at most attack.eps ({recipe.attack.eps})"
    if recipe.data.root == DRAWN and recipe.data.train.images != "images":
        yield ("data", "train", "images"), recipe.data.train.images, "must be images for the drawn data set"
    if recipe.schedule.policy.type == "one_cycle" and recipe.schedule.warmup.iterations:
        rule = "must be 0 with policy one_cycle, which warms up by itself"
        yield ("schedule", "warmup", "iterations"), recipe.schedule.warmup.iterations, rule
    if list(recipe.schedule.policy.milestones) != sorted(recipe.schedule.policy.milestones):
        yield ("schedule", "policy", "milestones"), list(recipe.schedule.policy.milestones), "must rise"
