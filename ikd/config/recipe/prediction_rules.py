"""Rules of what reads the predictions of a teacher: response terms, and its boxes as labels."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ikd.config.document import Fault
from ikd.config.recipe.effective import compares_maps
from ikd.config.recipe.fields import loss_weights
from ikd.config.recipe.sections import DRAWN, RecipeSections
from ikd.config.section import Section

_MIXING = ("copy_paste", "mixup", "mosaic")


def prediction_faults(recipe: RecipeSections) -> Iterator[Fault]:
    """Yield the faults between fields of response terms, labels and photographs without labels."""
    yield from _label_faults(recipe)
    yield from _query_faults(recipe)
    response, labels = recipe.distill.response, recipe.distill.labels
    for name in response.active:
        yield from _weight_faults(("distill", "response", name), getattr(response, name))
        if name == recipe.distill.host:
            yield (
                ("distill", "response", name, "enabled"),
                True,
                f"must be false with distill.host {name}, the same loss",
            )
    if labels.enabled and labels.form != "hard":
        yield from _weight_faults(("distill", "labels", "soft"), labels.soft)


def _weight_faults(place: tuple[str, ...], term: Section) -> Iterator[Fault]:
    """Yield a term that is on and all of whose weights are 0: it costs what it always does, and teaches nothing."""
    weights = [name for name in loss_weights(type(term)) if "." not in name]
    if weights and not any(getattr(term, name) for name in weights):
        others = f", or another weight of {'.'.join(place)} must be," if len(weights) > 1 else ""
        yield (*place, weights[0]), getattr(term, weights[0]), f"must be above 0{others} for the term to act"
    for name in type(term).model_fields:
        if isinstance(below := getattr(term, name), Section):  # of detectors that the others are not for
            yield from _weight_faults((*place, name), below)


def _label_faults(recipe: RecipeSections) -> Iterator[Fault]:
    labels, folder = recipe.distill.labels, recipe.data.unlabeled
    if folder is not None and recipe.data.root == DRAWN and folder != DRAWN and not os.path.isabs(folder):
        yield ("data", "unlabeled"), folder, f"must be {DRAWN} or an absolute path for the drawn data set"
    if not labels.enabled:
        return
    if folder is None and not labels.looks_at_labelled:
        rule = "needs photographs without labels (data.unlabeled), distill.labels.labelled: fill, or another form"
        yield ("distill", "labels", "enabled"), True, rule
    if labels.form != "hard" and (mixing := [name for name in _MIXING if getattr(recipe.input, name).enabled]):
        rule = f"must be hard where an image is put together of several (input.{mixing[0]}): soft targets are of one"
        yield ("distill", "labels", "form"), labels.form, rule
    if labels.form == "soft" and labels.ignore is not None:
        yield ("distill", "labels", "ignore"), labels.ignore, "must be null with form soft, which has no background"
    if labels.ignore is not None and labels.threshold != "auto" and labels.ignore >= labels.threshold:
        rule = f"must be below distill.labels.threshold ({labels.threshold:g})"
        yield ("distill", "labels", "ignore"), labels.ignore, rule
    distill = recipe.distill
    compares = compares_maps(recipe) or distill.host != "none" or distill.response.active
    if labels.weight == 0 and labels.form == "hard" and folder is not None and not compares:
        rule = "must be above 0 where no term between the detectors sees the photographs either"
        yield ("distill", "labels", "weight"), labels.weight, rule


def _query_faults(recipe: RecipeSections) -> Iterator[Fault]:
    section = recipe.distill.response.kd_detr
    if section.enabled and not (section.specific or section.general):
        yield (
            ("distill", "response", "kd_detr", "general"),
            0,
            "must be above 0, or specific true, for queries to compare",
        )
