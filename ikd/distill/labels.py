"""The student's own loss on images whose boxes are the teacher's, beside that on labelled ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

IMAGES, SAMPLES = "unlabelled", "unlabelled_samples"
"""Keys of a batch: images [3, H, W] without labels, and their samples with the teacher's boxes."""
NAME = "labels"
IGNORED_IOF = 0.5
"""Share of an anchor in an ignored box from which it is neither object nor background (mmdet's Soft Teacher)."""


@dataclass(frozen=True)
class LabelTerm:
    """How the student's own loss on photographs without labels counts.

    Attributes:
        weight: of all of it, against that on labelled images.
        ignores: boxes set aside are neither objects nor background.
        hard: it acts; else the photographs are shown to the terms alone, soft targets among them.
    """

    weight: float
    ignores: bool
    hard: bool = True


def weighed(losses: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """Return a detector's losses times a weight, named as the label term's; what is no loss is left out.

    Args:
        losses: of an mmdet detector: a tensor each, or a list of tensors.
        weight: 0 or more.
    """
    return {
        f"loss_{NAME}_{name.removeprefix('loss_')}": times(value, weight)
        for name, value in losses.items()
        if "loss" in name
    }


def averaged(parts: Sequence[tuple[Mapping[str, Any], int]]) -> dict[str, Any]:
    """Return terms of a batch that was looked at in parts: each image counts alike, so that weights mean the same.

    Args:
        parts: terms by name, each a mean over images, and the number of those; a term may be in one part alone.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for terms, _ in parts for name in terms):
        having = [(terms[name], count) for terms, count in parts if name in terms]
        total = sum(count for _, count in having)
        pieces = [times(value, count / total) for value, count in having]
        found[name] = pieces[0] if len(pieces) == 1 else _sum(pieces[0]) + _sum(pieces[1])
    return found


def _sum(value: Any) -> Any:
    return sum(value) if isinstance(value, list) else value


def times(value: Any, factor: float) -> Any:
    """Return a loss of mmdet, a tensor or a list of tensors, times a factor."""
    return [one * factor for one in value] if isinstance(value, list) else value * factor


def boxes_in(samples: Sequence[Any]) -> int:
    """Return the number of boxes that are objects in mmdet's data samples; no GPU is waited for."""
    return sum(len(sample.gt_instances) for sample in samples)


def ignoring_assigners(student: nn.Module) -> list[Any]:
    """Return the assigners of a detector that know boxes which are neither objects nor background."""
    found: dict[int, Any] = {}
    for module in student.modules():
        for name in ("assigner", "bbox_assigner"):
            held = getattr(module, name, None)
            for one in held if isinstance(held, list) else [held]:
                if hasattr(one, "ignore_iof_thr"):
                    found[id(one)] = one
    return list(found.values())


@contextmanager
def ignored(student: nn.Module, *, acts: bool) -> Iterator[None]:
    """Let the student's assigners heed boxes that are set aside, while the block lasts and where it `acts`.

    mmdet's usual `ignore_iof_thr` of -1 takes no notice of them.
    """
    changed = [one for one in ignoring_assigners(student) if one.ignore_iof_thr <= 0] if acts else []
    before = [one.ignore_iof_thr for one in changed]
    for one in changed:
        one.ignore_iof_thr = IGNORED_IOF
    try:
        yield
    finally:
        for one, value in zip(changed, before, strict=True):
            one.ignore_iof_thr = value
