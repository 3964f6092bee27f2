"""Putting weights into a detector: from a checkpoint, strictly, or from its teacher."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ikd.detectors.build import quiet
from ikd.detectors.checkpoint import Checkpoint
from ikd.detectors.kinds.dino import renewed
from ikd.detectors.kinds.panoptic import without_stuff
from ikd.detectors.kinds.text import Named, without_positions
from ikd.errors import BadInput, CheckpointError, ClassesError

_SHOWN = 4
BACKBONE_ALONE = (
    "; it holds a backbone alone, which is given by overrides backbone.init_cfg: {type: Pretrained, checkpoint: FILE, "
    "prefix: backbone.}"
)
"""What to do with the weights of a backbone."""


def load_weights(detector: nn.Module, checkpoint: Checkpoint, *, classes: Sequence[str] | None) -> None:
    """Load a checkpoint into a detector; every key must fit. On error the detector is as it was.

    Names that mmdet has changed since the checkpoint was saved are translated by mmdet's own modules, and what it has
    made wider by `ikd.detectors.kinds`. Of a PanopticFPN's weights those of its branch of stuff are left out where the
    detector has none.

    Args:
        detector: any mmdet detector.
        checkpoint: as read by `read_checkpoint`.
        classes: class names of the data set, in its order; None takes those that the weights were trained for, as does
            a detector that is told what to look for.

    Raises:
        ClassesError: other classes (number, names or order).
        CheckpointError: else missing, unexpected or mis-shaped keys, else
            values that are not finite.
    """
    own = detector.state_dict()
    checkpoint = replace(checkpoint, state_dict=_as_built(checkpoint.state_dict, own))
    if classes is not None and not isinstance(detector, Named):
        refuse_classes(checkpoint, tuple(classes))
        _check_number_of_classes(checkpoint, own, tuple(classes))
    shapes = [
        f"{key} is {tuple(value.shape)}, the detector has {tuple(own[key].shape)}"
        for key, value in checkpoint.state_dict.items()
        if key in own and value.shape != own[key].shape
    ]
    if shapes:
        raise CheckpointError(f"{checkpoint.source!r} is of another architecture: {_few(shapes)}")
    before = {key: value.clone() for key, value in own.items()}
    with quiet():  # mmcv notes every deformable convolution
        keys = detector.load_state_dict(checkpoint.state_dict, strict=False)
    faults = [f"missing {key}" for key in keys.missing_keys[:_SHOWN]]
    faults += [f"unexpected {key}" for key in keys.unexpected_keys[:_SHOWN]]
    if faults:
        detector.load_state_dict(before)
        count = f"{len(keys.missing_keys)} keys missing, {len(keys.unexpected_keys)} unexpected"
        hint = BACKBONE_ALONE if all(key.startswith("backbone.") for key in checkpoint.state_dict) else ""
        raise CheckpointError(f"{checkpoint.source!r} is of another architecture ({count}): {', '.join(faults)}{hint}")
    if broken := _not_finite(detector.state_dict(), before):
        detector.load_state_dict(before)
        raise CheckpointError(f"{checkpoint.source!r} holds weights that are not finite (NaN or infinite): {broken}")


def _as_built(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights as this mmdet and ikd build their detector, with the versions of the modules that saved them."""
    built = OrderedDict(without_stuff(without_positions(renewed(weights, own), own), own))
    built._metadata = getattr(weights, "_metadata", {})  # type: ignore[attr-defined]
    return built


def _not_finite(loaded: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> str:
    """Name the tensors that are not finite, but for those that a new detector has so too; nothing where all are."""
    bad = {
        key: int((~value.isfinite()).sum())
        for key, value in loaded.items()
        if value.is_floating_point() and not value.isfinite().all() and before[key].isfinite().all()
    }
    return _few(f"{count} of {loaded[key].numel()} values of {key}" for key, count in bad.items())


def _check_number_of_classes(checkpoint: Checkpoint, own: Mapping[str, Tensor], classes: tuple[str, ...]) -> None:
    """Say of a checkpoint without class names that its heads were made for another number of classes."""
    rows = {
        key: (len(value), len(own[key]))
        for key, value in checkpoint.state_dict.items()
        if key in own and value.shape != own[key].shape and value.shape[1:] == own[key].shape[1:]
    }
    differing = sum(key in own and value.shape != own[key].shape for key, value in checkpoint.state_dict.items())
    if checkpoint.classes is not None or not rows or len(rows) < differing:
        return
    numbers = {_classes_of_rows(*one, len(classes)) for one in rows.values()} - {None}
    if len(numbers) == 1:
        key, (theirs, ours) = next(iter(rows.items()))
        raise ClassesError(
            f"{checkpoint.source!r} seems to be trained for {numbers.pop()} classes, and not for {len(classes)} "
            f"({', '.join(classes[:_SHOWN])}{', ...' if len(classes) > _SHOWN else ''}): {key} has {theirs} rows, and "
            f"{ours} are needed"
        )


def _classes_of_rows(theirs: int, ours: int, classes: int) -> int | None:
    """Return for how many classes a layer of so many rows is, where this detector's has `ours`; None if for none."""
    for extra in (0, 1):  # some heads have a row for the background
        if ours % (classes + extra) == 0 and theirs % (ours // (classes + extra)) == 0:
            return theirs // (ours // (classes + extra)) - extra
    return None


def refuse_classes(checkpoint: Checkpoint, classes: tuple[str, ...]) -> None:
    """Refuse a checkpoint that says it was trained for other classes than these, or in another order.

    Raises:
        CheckpointError: so it is; names which differ.
    """
    got = checkpoint.classes
    if got is None or got == classes:
        return
    if sorted(got) == sorted(classes):
        at = next(place for place, (one, other) in enumerate(zip(got, classes, strict=True)) if one != other)
        reason = f"the same classes in another order: class {at} is {got[at]!r} there, {classes[at]!r} in the data set"
    else:
        only_there = [name for name in got if name not in classes]
        only_here = [name for name in classes if name not in got]
        there, here = (_few(names) or "none" for names in (only_there, only_here))
        reason = f"only in the checkpoint: {there}; only in the data set: {here}"
    raise ClassesError(
        f"{checkpoint.source!r} was trained for {len(got)} classes, the data set has {len(classes)}; {reason}"
    )


def _few(items: Iterable[str]) -> str:
    listed = list(items)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


@torch.no_grad()
def inherit(student: nn.Module, teacher: nn.Module) -> list[str]:
    """Copy every tensor outside the backbone (neck and heads) from the teacher into the student.

    The inheriting strategy of FGD, MGD and IKD; worth up to about a point of mAP by itself. Nothing is copied on error.
    Where the backbones differ in width, the neck's layers that read the backbone keep the student's own weights, as in
    the authors' code (which skips every tensor that does not fit; here only those may differ).

    Returns:
        The names copied.

    Raises:
        BadInput: another head or neck, or other shapes; names the keys.
    """
    ours, theirs = _outside_backbone(student.state_dict()), _outside_backbone(teacher.state_dict())
    pair = f"{type(student).__name__} cannot inherit from {type(teacher).__name__}"
    faults = [f"only the student has {key}" for key in ours if key not in theirs]
    faults += [f"only the teacher has {key}" for key in theirs if key not in ours]
    if not faults:
        faults = [
            f"{key} is {tuple(ours[key].shape)} in the student, {tuple(theirs[key].shape)} in the teacher"
            for key in ours
            if ours[key].shape != theirs[key].shape and not _reads_backbone(key, ours[key], theirs[key])
        ]
    if faults:
        raise BadInput(f"{pair}: neck and head must be the same; {_few(faults)}; set inherit: false or match the two")
    own = {_module_of(key) for key in ours if ours[key].shape != theirs[key].shape}
    copied = [key for key in ours if _module_of(key) not in own]  # a layer is inherited whole: weight and bias together
    for key in copied:
        ours[key].copy_(theirs[key])
    return copied


def _module_of(key: str) -> str:
    """Return the module a state-dict key belongs to."""
    return key.rpartition(".")[0]


def _reads_backbone(key: str, ours: Tensor, theirs: Tensor) -> bool:
    """Tell whether two weights of the neck differ only in how many channels they read."""
    same_outputs = (
        ours.ndim == theirs.ndim == 4 and ours.shape[0] == theirs.shape[0] and ours.shape[2:] == theirs.shape[2:]
    )
    return key.startswith("neck.") and same_outputs


def _outside_backbone(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith("backbone.")}
