"""Detectors of a recipe, and teachers with their weights: of the data set's classes, of more, or of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ikd.config import Detector, Teacher
from ikd.detectors import (
    Checkpoint,
    ClassRows,
    build_detector,
    detector_config,
    freeze,
    load_weights,
    read_checkpoint,
    reads_text,
    refuse_classes,
    wanted_classes,
)
from ikd.errors import CheckpointError, refuse, within
from ikd.home import cache


def model_config(detector: Detector, classes: Sequence[str] | None) -> Any:
    """Return the plain mmdet config of a recipe's detector."""
    return detector_config(
        detector.config,
        arguments=detector.arguments,
        overrides=detector.overrides,
        classes=classes,
        pretrained_backbone=detector.pretrained_backbone,
    )


def read_weights(weights: Path | str) -> Checkpoint:
    """Read a checkpoint, downloaded once where it is a URL; raises as `read_checkpoint`."""
    return read_checkpoint(weights, cache("checkpoints"))


def load_teacher(
    teacher: Detector, weights: Path | str, classes: Sequence[str], *, field: str = "teacher"
) -> torch.nn.Module:
    """Build a teacher, or a student that is only looked at, load its weights strictly, freeze it.

    A teacher of classes of its own keeps them; one with a class map is cut down to those of the data set, or, where it
    reads texts, looks for the words that the map has for them.

    Args:
        teacher: which detector.
        weights: its checkpoint.
        classes: of the data set, in its order.
        field: of the recipe that holds it, for messages.

    Raises:
        CheckpointError: the weights belong to another architecture or class list.
        BadInput: a detector that cannot be built, or a class map that does not fit.
    """
    plain = teacher.model_copy(update={"pretrained_backbone": False})  # the checkpoint holds the backbone
    with within(f"{field}.checkpoint"):
        checkpoint = read_weights(weights)
    with within(field):
        words = reads_text(model_config(plain, None))
    taught: Sequence[str] | None = classes
    if isinstance(teacher, Teacher) and teacher.class_map is not None:
        if not words:
            return _cut_down(plain, teacher, checkpoint, classes, field)
        taught = [teacher.class_map.get(name, name) for name in classes]  # what it is to look for, in any words
        wanted_classes(f"{field}.class_map", teacher.class_map, classes, taught)
    if isinstance(teacher, Teacher) and teacher.classes == "own":
        taught = checkpoint.classes
    with within(field):
        detector = build_detector(model_config(plain, taught))
    with within(f"{field}.checkpoint"):
        if isinstance(teacher, Teacher) and taught is not None and not words:
            _refuse_other_classes(checkpoint, taught)
        try:
            load_weights(detector, checkpoint, classes=taught)
        except CheckpointError as error:
            if taught is not None:
                raise
            rule = "it says no classes, whose number is that of the config: overrides change it (bbox_head.num_classes)"
            raise CheckpointError(f"{error}; {rule}") from error
    frozen: torch.nn.Module = freeze(detector)
    return frozen


def _refuse_other_classes(checkpoint: Checkpoint, classes: Sequence[str]) -> None:
    """Refuse a teacher's weights for other classes, and say what would do."""
    try:
        refuse_classes(checkpoint, tuple(classes))
    except CheckpointError as error:
        holds = set(classes) <= set(checkpoint.classes or ())
        way = "class_map: {} takes the rows of ours" if holds else "a class_map says which of theirs stand for ours"
        raise type(error)(f"{error}; {way}, and classes: own does where only maps are compared") from error


def _names_of(teacher: Teacher, checkpoint: Checkpoint, field: str) -> Sequence[str]:
    """Return the classes that a checkpoint is for, in its order: as it says itself, or else as the recipe does."""
    listed = None if isinstance(teacher.classes, str) else teacher.classes
    known = checkpoint.classes
    if known is not None and listed is not None and listed != known:
        rule = f"must be left at data, as {checkpoint.source!r} names its classes itself: {', '.join(known)}"
        refuse(f"{field}.classes", rule, list(listed))
    if known is None and listed is None:
        rule = "must list the names of the classes that the weights are for, in their order, for its class_map"
        refuse(f"{field}.classes", rule, teacher.classes, f"{checkpoint.source!r} does not hold them")
    return known or listed or ()


def _cut_down(
    plain: Detector, teacher: Teacher, checkpoint: Checkpoint, classes: Sequence[str], field: str
) -> torch.nn.Module:
    """Return a teacher of the data set's classes, from weights for more of them."""
    names = _names_of(teacher, checkpoint, field)
    assert teacher.class_map is not None
    chosen = wanted_classes(f"{field}.class_map", teacher.class_map, classes, names)
    with within(field):
        detector, whole = (build_detector(model_config(plain, one)) for one in (classes, names))
    with within(f"{field}.{'checkpoint' if isinstance(teacher.classes, str) else 'classes'}"):
        load_weights(whole, checkpoint, classes=names)
    if len(names) == 1:
        alone: torch.nn.Module = freeze(whole)
        return alone
    other, count = whole, len(names)
    if count == len(classes):  # only another number of classes shows which layers have rows for them
        count += 1
        other = build_detector(model_config(plain, [str(place) for place in range(count)]))
    rows = ClassRows(detector.state_dict(), len(classes), other.state_dict(), count)
    with within(field):
        detector.load_state_dict(rows.cut(whole.state_dict(), len(names), chosen, checkpoint.source))
    frozen: torch.nn.Module = freeze(detector)
    return frozen
