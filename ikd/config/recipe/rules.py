"""Rules that tie several fields of a recipe together; each fault names the one field to change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ikd.config.document import Document, Fault, Location
from ikd.config.recipe.effective import alters_pixels, compares_maps
from ikd.config.recipe.hosts import HOSTS
from ikd.config.recipe.input_rules import input_faults
from ikd.config.recipe.prediction_rules import prediction_faults
from ikd.config.recipe.schedule_rules import schedule_faults
from ikd.config.recipe.sections import DRAWN, RecipeSections, Teacher
from ikd.config.recipe.stages import OF_ALL, STAGE_FIELDS, stage_ends
from ikd.config.recipe.terms import COUPLED, MAX_EPS, WITHOUT_TEACHER
from ikd.errors import Problem

SHARE_TOLERANCE = 1e-3
"""Shares are written with a few decimals: three thirds sum to 0.999."""


def problems_between(recipe: RecipeSections, document: Document) -> list[Problem]:
    """Return the faults between fields of a recipe; those of its stages' own recipes come besides."""
    faults = [*_teacher_faults(recipe), *_detector_faults(recipe), *_other_faults(recipe)]
    return [document.problem(location, value, rule) for location, value, rule in faults]


def _teacher_faults(recipe: RecipeSections) -> Iterator[Fault]:
    available, stages = recipe.teachers.available, recipe.teachers.stages
    place: Location = ("teachers", "sequence")
    for index, stage in enumerate(stages):
        if stage.teacher not in available:
            known = ", ".join(available) or "none is defined"
            at = (*place, index) if isinstance(recipe.teachers.sequence[index], str) else (*place, index, "teacher")
            yield at, stage.teacher, f"must be a name under teachers.available ({known})"
    if stages:
        yield from _stage_faults(recipe)
        return
    for name, value in WITHOUT_TEACHER.items():
        if (found := recipe.value(name)) != value:
            rule = f"needs a teacher in teachers.sequence, or must be {str(value).lower()}"
            yield tuple(name.split(".")), found, rule


def _stage_faults(recipe: RecipeSections) -> Iterator[Fault]:
    place: Location = ("teachers", "sequence")
    stages, total = recipe.teachers.stages, recipe.total_epochs
    shares = [stage.share for stage in stages if stage.share is not None]
    at_once = recipe.teachers.at_once
    if shares and len(shares) < len(stages):
        yield place, shares, "must give a share to every stage, or to none"
    elif shares and abs(sum(shares) - 1) > SHARE_TOLERANCE:
        yield place, shares, f"must have shares that sum to 1, and they sum to {sum(shares):g}"
    if shares and recipe.schedule.epochs_per_stage is not None and not at_once:
        yield ("schedule", "epochs_per_stage"), recipe.schedule.epochs_per_stage, "goes only with stages without shares"
    ends = [0, *stage_ends(recipe)]
    if any(last <= first for first, last in pairwise(ends)):
        yield place, [stage.teacher for stage in stages], f"must give every stage an epoch of the {total} there are"
    if at_once:
        yield from _together_faults(recipe)
    for index, stage in enumerate(stages):
        for name in stage.set:
            if not name.startswith(STAGE_FIELDS):
                rule = f"is not a stage's own; a stage may set fields under {', '.join(STAGE_FIELDS).replace('.', '')}"
                yield (*place, index, "set", name), stage.set[name], rule
        if (name := "distill.me.stages") in stage.set:
            rule = "is not a stage's own, as it says which stages; set distill.me.enabled in the stage"
            yield (*place, index, "set", name), stage.set[name], rule


def _together_faults(recipe: RecipeSections) -> Iterator[Fault]:
    """Yield what does not go with several teachers at once."""
    place: Location = ("teachers", "sequence")
    stages, distill = recipe.teachers.stages, recipe.distill
    names = [stage.teacher for stage in stages]
    if len(set(names)) < len(names):
        yield place, names, "must name no teacher twice with teachers.together"
    for index, stage in enumerate(stages):
        for name, value in stage.set.items():
            if not name.startswith("distill.") or name.startswith(OF_ALL):
                rule = "must be the same for all teachers with teachers.together: set it in the recipe"
                yield (*place, index, "set", name), value, rule
    if recipe.adversarial.enabled and recipe.augment.enabled and recipe.augment.published:
        rule = (
            "must be false with teachers.together and adversarial.enabled: an image has a copy for each teacher, and "
        )
        yield ("augment", "published"), True, rule + "only one is cropped apart from it"
    between = compares_maps(recipe) or distill.host != "none" or distill.response.active
    if not between and not all(stage.set for stage in stages[1:]):
        rule = "must be false where no term stands between the detectors: all but the first would teach nothing"
        yield ("teachers", "together"), True, rule


def _detector_faults(recipe: RecipeSections) -> Iterator[Fault]:
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
    used = {stage.teacher for stage in recipe.teachers.stages}
    for name, teacher in recipe.teachers.available.items():
        if teacher.checkpoint is None and teacher.recipe is None and name in used:
            yield ("teachers", "available", name), None, "needs a checkpoint, or a recipe that trains it"
        yield from _class_faults(recipe, name, teacher)


def _class_faults(recipe: RecipeSections, name: str, teacher: Teacher) -> Iterator[Fault]:
    place: Location = ("teachers", "available", name)
    if teacher.class_map is not None and teacher.classes == "own":
        yield (*place, "classes"), "own", "must be data, or the names of its classes, with a class_map"
    if not isinstance(teacher.classes, str):
        names = list(teacher.classes)
        if teacher.class_map is None:
            yield (*place, "classes"), names, "must be data or own without a class_map, which reads the names"
        elif not names or len(set(names)) < len(names) or not all(name.strip() for name in names):
            yield (*place, "classes"), names, "must name each class of its weights once, and none by nothing"
    if (teacher.class_map is not None or teacher.classes != "data") and teacher.checkpoint is None:
        yield (*place, "checkpoint"), None, "is needed for classes of its own: a teacher's recipe trains it on the data"
    stages = recipe.teachers.stages
    alone = [stage for stage in stages if stage.teacher == name and not stage.set]
    if teacher.classes == "own" and alone:
        beside = recipe.teachers.at_once and stages[0].teacher != name
        for field, value, instead in _read_classes(recipe, beside=beside):
            rule = f"{instead} where teacher {name} knows other classes (classes: own), as this reads what it predicts"
            yield field, value, rule


def _read_classes(recipe: RecipeSections, *, beside: bool) -> Iterator[Fault]:
    """Yield what reads the classes of a teacher, and what would not; those beside the first give no labels."""
    distill = recipe.distill
    if distill.host != "none" and HOSTS[distill.host].between_heads:
        yield ("distill", "host"), distill.host, "must compare maps alone, such as fgd or pkd,"
    if distill.prototypes.enabled and distill.prototypes.response_weight:
        yield ("distill", "prototypes", "response_weight"), distill.prototypes.response_weight, "must be 0"
    if recipe.student.inherit and not beside:
        yield ("student", "inherit"), True, "must be false"
    if recipe.adversarial.enabled and recipe.attack.loss != "feature_distance":
        yield ("attack", "loss"), recipe.attack.loss, "must be feature_distance"
    for name in distill.response.active:
        yield ("distill", "response", name, "enabled"), True, "must be false"
    if distill.labels.enabled and not beside:
        yield ("distill", "labels", "enabled"), True, "must be false"


def _other_faults(recipe: RecipeSections) -> Iterator[Fault]:
    yield from schedule_faults(recipe)
    yield from input_faults(recipe)
    yield from _alignment_faults(recipe)
    yield from _prototype_faults(recipe)
    yield from _decoder_faults(recipe)
    yield from _level_faults(recipe)
    yield from _confidence_faults(recipe)
    yield from prediction_faults(recipe)
    if "bbox" not in recipe.validate or len(set(recipe.validate)) < len(recipe.validate):
        yield ("validate",), list(recipe.validate), "must hold bbox, and nothing twice"
    if recipe.adversarial.enabled:
        yield from _attack_faults(recipe)
    if recipe.data.root == DRAWN and recipe.data.train.images != "images":
        yield ("data", "train", "images"), recipe.data.train.images, "must be images for the drawn data set"
    if recipe.device == "cpu":
        asked = {
            ("schedule", "amp"): recipe.schedule.amp,
            ("distill", "teacher_precision"): recipe.distill.teacher_precision,
        }
        for place, value in asked.items():
            if value == "float16":
                yield place, value, "must not be float16 with device cpu; take bfloat16"


def _attack_faults(recipe: RecipeSections) -> Iterator[Fault]:
    attack = recipe.attack
    if 0 < attack.eps < 1 or attack.eps > MAX_EPS:
        rule = f"must be 0, or at least 1 grey level and at most {MAX_EPS:g}, to be stored in whole numbers"
        yield ("attack", "eps"), attack.eps, rule
    elif attack.step > attack.eps > 0:
        yield ("attack", "step"), attack.step, f"must be at most attack.eps ({attack.eps})"
    if attack.published and attack.loss != "cls":
        yield ("attack", "loss"), attack.loss, "must be cls with attack.published"


def _level_faults(recipe: RecipeSections) -> Iterator[Fault]:
    distill, place = recipe.distill, ("distill", "levels")
    if not isinstance(distill.levels, str):
        if not distill.levels or list(distill.levels) != sorted(set(distill.levels)):
            yield place, list(distill.levels), "must list at least one level, rising, and none twice"
        elif distill.sfa.enabled and not set(distill.levels) & set(distill.sfa.levels):
            yield place, list(distill.levels), f"must hold one of distill.sfa.levels {list(distill.sfa.levels)}"
    if distill.reduction == "variance" and distill.host != "none" and not HOSTS[distill.host].reads_maps:
        rule = f"must be published or mean where the host compares predictions (host {distill.host})"
        yield ("distill", "reduction"), distill.reduction, rule


def _decoder_faults(recipe: RecipeSections) -> Iterator[Fault]:
    section = recipe.distill.icd
    if recipe.distill.host == "icd" and (section.dims % section.heads or section.dims // section.heads < 2):
        rule = f"must be a divisor of distill.icd.dims ({section.dims}), and at most half of it"
        yield ("distill", "icd", "heads"), section.heads, rule


def _confidence_faults(recipe: RecipeSections) -> Iterator[Fault]:
    distill, place = recipe.distill, ("distill", "confidence")
    chosen = list(distill.confidence)
    if len(set(chosen)) < len(chosen):
        yield place, chosen, "must name no term twice"
    on = {
        "host": distill.host != "none" and HOSTS[distill.host].reads_maps,
        "sfa": distill.sfa.enabled and distill.sfa.mode == "extra_loss",
        "prototypes": distill.prototypes.enabled,
        "adversarial": recipe.adversarial.enabled,
    }
    if idle := [name for name in chosen if not on[name]]:
        there = ", ".join(name for name in on if on[name]) or "none here"
        yield place, idle[0], f"must be among the terms between maps that are on: {there}"
    elif "adversarial" in chosen and recipe.augment.enabled and recipe.augment.published:
        yield place, "adversarial", "goes not with augment.published, whose copies are cropped elsewhere than the image"
    elif set(chosen) - {"adversarial"} and not alters_pixels(recipe):
        rule = "needs images that are altered: input.joint.enabled with a proportion above 0, or noise (augment.noise)"
        yield place, chosen, rule


def _prototype_faults(recipe: RecipeSections) -> Iterator[Fault]:
    section, sfa, host = recipe.distill.prototypes, recipe.distill.sfa, recipe.distill.host
    if not section.enabled:
        return
    if not (section.global_weight or section.feature_weight or section.response_weight or section.couples):
        rule = "must be above 0, or another weight of distill.prototypes must be, for prototypes to act"
        yield ("distill", "prototypes", "global_weight"), section.global_weight, rule
    if section.couples and host not in COUPLED:
        rule = f"must be false where prototypes cannot act within the host ({host}); they can within "
        yield ("distill", "prototypes", "couples"), True, rule + ", ".join(COUPLED)
    elif section.couples and host == "rkd" and sfa.enabled and sfa.mode == "standardise_inputs":
        rule = "must be extra_loss where rkd compares with prototypes (distill.prototypes.couples), whose features are "
        yield ("distill", "sfa", "mode"), sfa.mode, rule + "not standardised"


def _alignment_faults(recipe: RecipeSections) -> Iterator[Fault]:
    me, sfa, augment = recipe.distill.me, recipe.distill.sfa, recipe.augment
    host = recipe.distill.host
    if me.enabled and not (augment.noise.enabled or augment.crop.enabled):
        yield (
            ("distill", "me", "enabled"),
            True,
            "needs augment.noise.enabled or augment.crop.enabled, which it applies",
        )
    if me.enabled and me.form == "added" and host != "dfmsd":
        yield ("distill", "me", "form"), me.form, f"must be replaced where no beta weighs the second pass (host {host})"
    if sfa.enabled and (not sfa.levels or len(set(sfa.levels)) < len(sfa.levels)):
        yield ("distill", "sfa", "levels"), list(sfa.levels), "must list at least one level, and none twice"
    if sfa.enabled and sfa.mode == "standardise_inputs" and (host == "none" or not HOSTS[host].reads_maps):
        rule = "must be extra_loss where the host reads no feature maps"
        yield ("distill", "sfa", "mode"), sfa.mode, f"{rule} (host {host})"
