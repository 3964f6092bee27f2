"""From recipe to model: student, teacher, terms, and everything that can be refused before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ikd.config import HOSTS, HOSTS_BESIDE, Recipe, StagePlan, compares_maps, sees_unlabelled
from ikd.data import DataFiles
from ikd.detectors import base_anchors, build_detector, has_masks, inherit, load_weights
from ikd.distill import (
    AdaptedLoss,
    AdaptedPyramid,
    Anchors,
    PyramidSize,
    Scale,
    build_loss,
    canvas_divisor,
    of_pyramid,
    rescale,
    takes,
)
from ikd.distill.agreement import shared_weights
from ikd.distill.conditional import InstanceDecoder
from ikd.distill.detector import DistillDetector
from ikd.distill.labels import LabelTerm, ignoring_assigners
from ikd.distill.prototypes import PrototypeTerm
from ikd.distill.response import QueryTerm, ReliableScores, ResponseTerms, SoftTargets, between
from ikd.distill.terms import Taught, Terms
from ikd.errors import ClassesError, refuse, within
from ikd.training.levels import Levels, aligned_levels, choose_levels
from ikd.training.loaders import typical_size
from ikd.training.optim.norms import shared_norms
from ikd.training.teachers.loading import model_config, read_weights


@dataclass(frozen=True)
class Pyramid:
    """Channels on both sides of the levels that are distilled, which these are, and the student's anchors there."""

    student: Sequence[int]
    teacher: Sequence[int]
    levels: Levels
    anchors: Sequence[Anchors] | None


def build_model(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module | None) -> DistillDetector:
    """Build the model of one stage; the caller has seeded torch.

    Args:
        recipe: recipe in force, with at most one teacher.
        files: data of the recipe.
        teacher: frozen teacher with its weights, or None.

    Raises:
        BadInput: detectors that do not fit together, unknown detectors, unfit checkpoints.
    """
    student = _student(recipe, files, teacher)
    if teacher is None:
        return DistillDetector(student)
    distill = recipe.distill
    if not (distill.host != "none" or compares_maps(recipe) or distill.response.active):
        labels, soft = _labels(recipe, student), _soft(recipe, student)
        measured = distill.measure_gradients and bool(labels or soft)
        return DistillDetector(student, terms=Terms(labels=labels, soft=soft, measured=measured))
    return DistillDetector(student, teacher, _terms(recipe, files, student, teacher))


def build_stage_model(plan: StagePlan, files: DataFiles, teachers: Sequence[torch.nn.Module]) -> DistillDetector:
    """Build the model of one stage with all its teachers; the caller has seeded torch.

    Args:
        plan: the stage.
        files: data of the recipe.
        teachers: frozen, in the order of the plan's; none for a student alone.

    Raises:
        BadInput: see `build_model`; of several teachers it names the one that does not fit.
    """
    if not plan.beside:
        return build_model(plan.recipe, files, teachers[0] if teachers else None)
    student = _student(plan.recipe, files, teachers[0])
    taught = []
    for one, teacher in zip(plan.each, teachers, strict=True):
        others = [other for other in teachers if other is not teacher]
        with within(f"recipe {one.recipe.name}: teacher {one.teacher}"):
            terms = _terms(one.recipe, files, student, teacher, others)
        if not terms.names:
            rule = f"must leave teacher {one.teacher} something to teach: a host, or another term between the detectors"
            refuse(f"recipe {plan.recipe.name}: teachers.together", rule, True)
        taught.append(Taught(teacher, terms, str(one.teacher), one.weight))
    return DistillDetector(student, together=taught)


def _student(recipe: Recipe, files: DataFiles, teacher: torch.nn.Module | None) -> Any:
    """Return the student with what it begins with: weights of its own, and those that it inherits."""
    with within("student"):
        student = shared_norms(recipe, build_detector(model_config(recipe.student, files.classes)))
    if recipe.student.checkpoint:
        with within("student.checkpoint"):
            _begin_at(student, recipe.student.checkpoint, files.classes)
    if recipe.student.inherit and teacher is not None:
        with within("student.inherit"):
            inherit(student, teacher)
    return student


def _begin_at(student: Any, weights: str, classes: Sequence[str]) -> None:
    try:
        load_weights(student, read_weights(weights), classes=classes)
    except ClassesError as error:
        way = "overrides backbone.init_cfg: {type: Pretrained, checkpoint: FILE, prefix: backbone.}"
        raise ClassesError(
            f"{error}; its backbone alone serves any classes: set {way} in place of a checkpoint"
        ) from error


def _terms(recipe: Recipe, files: DataFiles, student: Any, teacher: Any, beside: Sequence[Any] = ()) -> Terms:
    """Return what is distilled from one teacher; `beside` are the others that look at the same batch."""
    distill, host = recipe.distill, recipe.distill.host
    reduction = "mean" if distill.reduction == "variance" else distill.reduction  # of maps, where a host compares those
    if host != "none" and HOSTS[host].between_heads:
        heads = between(host, student, teacher, **getattr(distill, host).model_dump(), reduction=reduction)
    else:
        heads = None
    others = {name: getattr(distill.response, name) for name in distill.response.active if name in HOSTS_BESIDE}
    between_heads = Terms(
        heads=heads,
        beside=tuple(
            between(name, student, teacher, beside=True, **section.model_dump(), reduction=reduction)
            for name, section in others.items()
        ),
        predictions=_predictions(recipe, student, teacher),
        queries=_queries(recipe, student, teacher),
        labels=_labels(recipe, student),
        soft=_soft(recipe, student),
        measured=distill.measure_gradients,
        agreement=_agreement(recipe, student),
    )
    if not compares_maps(recipe):
        return between_heads
    levels = choose_levels(recipe, files, student, teacher)
    ours, theirs = levels.of_student, levels.of_teacher
    channels = [[level.channels for level in side] for side in (ours, theirs)]
    pyramid = Pyramid(channels[0], channels[1], levels, _anchors(student, levels))
    scale = _scale(recipe, files, pyramid, canvas_divisor(student, teacher, *beside))
    aligned = aligned_levels(recipe, levels)
    inputs = distill.sfa.mode == "standardise_inputs"
    return replace(
        between_heads,
        student_levels=levels.student,
        teacher_levels=levels.teacher,
        taps=(distill.taps.student, distill.taps.teacher),
        student_outputs=[level.output for level in ours],
        teacher_outputs=[level.output for level in theirs],
        host=(host, _losses(recipe, host, scale, pyramid)) if host != "none" and HOSTS[host].reads_maps else None,
        standardised=frozenset(aligned if inputs else ()),
        alignment={}
        if inputs
        else {
            level: build_loss("pkd", pyramid.student[level], pyramid.teacher[level], weight=recipe.distill.sfa.weight)
            for level in aligned
        },
        adversarial=_losses(recipe, "adversarial", scale, pyramid) if recipe.adversarial.enabled else None,
        statistics_follow=recipe.adversarial.updates_statistics,
        decoder=_decoder(recipe, files, pyramid) if host != "none" and HOSTS[host].decodes else None,
        prototypes=_prototypes(recipe, files, student, pyramid) if distill.prototypes.enabled else None,
        response=_response(recipe, student, teacher),
        coupled=distill.prototypes.couples,
        resized=distill.match == "index",
        confident=frozenset(distill.confidence),
        cells_factor=scale.kept if _acts(recipe) else None,
        said=levels.said,
    )


def _scale(recipe: Recipe, files: DataFiles, pyramid: Pyramid, divisor: int) -> Scale:
    """Return what weights of sums are multiplied by: for another input size, and for levels that are left out.

    The second is the ratio of cells at the input that the weights belong to: that of `rescale_from`, or the recipe's.
    """
    distill, strides = recipe.distill, pyramid.levels.strides
    # the unpadded levels of an SSD have no stride, and a few cells
    whole = tuple(stride for stride in pyramid.levels.shared.student_strides if stride)
    reference, keeps = distill.rescale_from, distill.keep_strength and strides != whole
    if reference is None and not keeps:
        return Scale()
    height, width = typical_size(files.train, recipe.input, divisor)
    now = PyramidSize(height, width, pyramid.teacher[0])
    before = now if reference is None else PyramidSize(reference.height, reference.width, reference.channels)
    return rescale(before, now, strides, whole=whole if keeps else strides)


def _anchors(student: Any, levels: Levels) -> list[Anchors] | None:
    """Return the student's anchors on the levels that are distilled; None where it has none."""
    found = base_anchors(student)
    outputs = [level.output for level in levels.of_student]
    if found is None or not all(output is not None and output < len(found) for output in outputs):
        return None
    pairs = zip(outputs, levels.strides, strict=True)
    return [Anchors(found[output], float(stride)) for output, stride in pairs if output is not None]


def _losses(recipe: Recipe, name: str, scale: Scale, pyramid: Pyramid) -> list[AdaptedLoss | AdaptedPyramid]:
    section = recipe.adversarial if name == "adversarial" else getattr(recipe.distill, name)
    arguments = section.model_dump(include=set(section.hyperparameters()))
    arguments = {key: value for key, value in arguments.items() if takes(name, key)}
    reduction = recipe.distill.reduction
    if takes(name, "reduction") or reduction == "variance":
        arguments |= {"reduction": reduction}
    if of_pyramid(name):
        return [build_loss(name, pyramid.student, pyramid.teacher, **arguments)]
    sides = zip(pyramid.student, pyramid.teacher, strict=True)
    return [
        build_loss(name, ours, theirs, **arguments, **_placed(recipe, name, scale, pyramid, place))
        for place, (ours, theirs) in enumerate(sides)
    ]


def _placed(recipe: Recipe, name: str, scale: Scale, pyramid: Pyramid, place: int) -> dict[str, Any]:
    """Return what the loss of one of the distilled levels asks of where it stands.

    Raises:
        BadInput: it asks for anchors, and the student has none.
    """
    given = {"level": pyramid.levels.positions[place], "levels": pyramid.levels.positions, "scale": scale}
    if takes(name, "anchors"):
        if pyramid.anchors is None:
            rule = "must be a loss that needs no anchors where those of the student's levels are not known"
            refuse(f"recipe {recipe.name}: distill.host", rule, name, "take a student with anchors, or another loss")
        given["anchors"] = pyramid.anchors[place]
    return {key: value for key, value in given.items() if takes(name, key)}


def _decoder(recipe: Recipe, files: DataFiles, pyramid: Pyramid) -> InstanceDecoder:
    section = recipe.distill.icd
    names = ("dims", "heads", "fakes", "most", "jitter")
    return InstanceDecoder(pyramid.teacher, len(files.classes), **{name: getattr(section, name) for name in names})


def _prototypes(recipe: Recipe, files: DataFiles, student: Any, pyramid: Pyramid) -> PrototypeTerm:
    section = recipe.distill.prototypes
    names = ("count", "global_weight", "feature_weight", "background_weight", "coefficients", "strength")
    return PrototypeTerm(
        pyramid.student,
        pyramid.teacher,
        classes=len(files.classes),
        over_levels="mean" if getattr(student, "with_roi_head", False) else "sum",
        **{name: getattr(section, name) for name in names},
    )


def _response(recipe: Recipe, student: Any, teacher: Any) -> ReliableScores | None:
    """Return the loss of class scores that prototypes weigh, a mean over classes; None where there is none.

    Raises:
        BadInput: the two heads do not score the same places.
    """
    section = recipe.distill.prototypes
    if not (section.enabled and section.response_weight):
        return None
    return ReliableScores(
        student,
        teacher,
        temperature=section.response_temperature,
        weight=section.response_weight,
        class_reduction="mean",
    )


def _labels(recipe: Recipe, student: Any) -> LabelTerm | None:
    """Return how the student's own loss on photographs without labels counts; None where there are none.

    Raises:
        BadInput: the student would need masks, or boxes are to be ignored and its assigners know no such boxes.
    """
    section = recipe.distill.labels
    if not section.enabled:
        return None
    if has_masks(student):
        rule = (
            f"must be false for a {type(student).__name__}: the teacher's labels are boxes, and its masks need outlines"
        )
        refuse(f"recipe {recipe.name}: distill.labels.enabled", rule, True, "take a student that predicts boxes alone")
    if section.ignore is not None and not ignoring_assigners(student):
        rule = f"must be null: no assigner of this {type(student).__name__} knows boxes that are neither objects nor "
        refuse(f"recipe {recipe.name}: distill.labels.ignore", rule + "background", section.ignore)
    hard = section.form != "soft"
    return LabelTerm(section.weight, section.ignore is not None, hard) if sees_unlabelled(recipe) else None


def _soft(recipe: Recipe, student: Any) -> SoftTargets | None:
    """Return the loss towards the teacher's boxes as soft targets, where it acts.

    Raises:
        BadInput: the student has no dense head that can be read.
    """
    section = recipe.distill.labels
    return SoftTargets(student, **section.soft.model_dump()) if section.enabled and section.form != "hard" else None


def _predictions(recipe: Recipe, student: Any, teacher: Any) -> ResponseTerms | None:
    """Return the response terms between dense heads that are switched on; None where there are none.

    Raises:
        BadInput: the two heads cannot be compared by one of them.
    """
    section = recipe.distill.response
    terms = {name: getattr(section, name) for name in section.active if name not in (*HOSTS_BESIDE, QueryTerm.name)}
    chosen = {name: term.model_dump(include=set(term.hyperparameters())) for name, term in terms.items()}
    return ResponseTerms(student, teacher, chosen) if chosen else None


def _queries(recipe: Recipe, student: Any, teacher: Any) -> QueryTerm | None:
    """Return the loss between what two DETRs say of the same queries, where it acts.

    Raises:
        BadInput: the two cannot decode the same queries.
    """
    section = recipe.distill.response.kd_detr
    if not section.enabled:
        return None
    return QueryTerm(student, teacher, seed=recipe.seed, **section.model_dump(exclude={"enabled"}))


def _agreement(recipe: Recipe, student: Any) -> dict[str, float] | None:
    """Return the settings of the agreement with detection, where it acts.

    Raises:
        BadInput: the student has nothing that both sides share, or computes it twice.
    """
    section = recipe.distill.agreement
    if not section.enabled:
        return None
    field, who = f"recipe {recipe.name}: distill.agreement.enabled", type(student).__name__
    if not shared_weights(student):
        refuse(
            field, f"must be false: it compares gradients on the neck, and this {who} has none that is trained", True
        )
    again = [name for name, one in student.named_modules() if getattr(one, "with_cp", False)]
    if beyond := [name for name in again if not name.startswith("backbone")]:
        refuse(field, f"must be false: {beyond[0]} recomputes its activations (with_cp), which is done once only", True)
    return section.model_dump(exclude={"enabled"})


def _acts(recipe: Recipe) -> bool:
    """Tell whether a factor on sums acts on any loss of the recipe."""
    distill = recipe.distill
    names = [distill.host] if distill.host != "none" else []
    names += ["adversarial"] if recipe.adversarial.enabled else []
    return distill.keep_strength and distill.reduction == "published" and any(takes(name, "scale") for name in names)
