"""Which place of a teacher belongs to which of a student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ikd.distill.views.boxes import iou
from ikd.distill.views.locations import Assignment, Level, Locations
from ikd.errors import refuse


def paired(student: Locations, teacher: Locations, assigned: Assignment) -> tuple[Locations, Locations, Assignment]:
    """Keep of both sides the places that are pairs, in one order.

    Levels pair by their stride, and those without a partner drop out. Cells pair one to one. Of several anchors on one
    side alone, the teacher's of the highest score stands for its cell, or the student's whose box has the largest
    overlap with the teacher's.

    Raises:
        BadInput: levels of one stride differ in size; no stride is common; numbers of anchors differ and neither is 1;
            numbers of classes differ.
    """
    if student.logits.shape[-1] != teacher.logits.shape[-1]:
        counts = (student.logits.shape[-1], teacher.logits.shape[-1])
        refuse("distill.response", "must be between heads of equal classes (student, teacher)", counts)
    if tuple(student.levels) == tuple(teacher.levels):
        return student, teacher, assigned
    ours, theirs = _shared(student.levels, teacher.levels)
    rows = [_places(student.levels, ours), _places(teacher.levels, theirs)]
    device = student.logits.device
    student, teacher = (_taken(one, at.to(device)) for one, at in zip((student, teacher), rows, strict=True))
    assigned = _assigned_at(assigned, rows[0].to(device))
    student, teacher = replace(student, levels=ours), replace(teacher, levels=theirs)
    return _by_anchor(student, teacher, assigned)


def _shared(ours: Sequence[Level], theirs: Sequence[Level]) -> tuple[list[Level], list[Level]]:
    of_stride = {level.stride: level for level in theirs}
    pairs = [(level, of_stride[level.stride]) for level in ours if level.stride in of_stride]
    if not pairs:
        strides = [[level.stride for level in side] for side in (ours, theirs)]
        refuse("distill.response", "must be between heads with a stride in common (student, teacher)", strides)
    for one, other in pairs:
        if one[1:3] != other[1:3]:
            sizes = [tuple(side[1:3]) for side in (one, other)]
            refuse("distill.response", f"must be between maps of one size at stride {one.stride:g}", sizes)
        if one.anchors != other.anchors and 1 not in (one.anchors, other.anchors):
            rule = "must be between heads of equal anchors, or one a cell on one side (student, teacher)"
            refuse("distill.response", rule, (one.anchors, other.anchors))
    return [one for one, _ in pairs], [other for _, other in pairs]


def _places(levels: Sequence[Level], kept: Sequence[Level]) -> Tensor:
    """Return the indices of the places on some levels, [M]."""
    found, before = [], 0
    for level in levels:
        if level in kept:
            found.append(torch.arange(before, before + level.places))
        before += level.places
    return torch.cat(found)


def _by_anchor(student: Locations, teacher: Locations, assigned: Assignment) -> Any:
    """Choose one anchor of each cell where only one side has several."""
    if [level.anchors for level in student.levels] == [level.anchors for level in teacher.levels]:
        return student, teacher, assigned
    chosen: list[list[Tensor]] = [[], []]
    starts = [0, 0]
    for one, other in zip(student.levels, teacher.levels, strict=True):
        cells = one.height * one.width
        for side, at in enumerate(_chosen(student, teacher, starts, cells, (one.anchors, other.anchors))):
            chosen[side].append(at)
        starts = [starts[0] + one.places, starts[1] + other.places]
    ours, theirs = (torch.cat(side, dim=1) for side in chosen)
    levels = [one._replace(anchors=min(one.anchors, other.anchors)) for one, other in _zipped(student, teacher)]
    return (
        replace(_taken(student, ours), levels=levels),
        replace(_taken(teacher, theirs), levels=levels),
        _assigned_at(assigned, ours),
    )


def _zipped(student: Locations, teacher: Locations) -> list[tuple[Level, Level]]:
    return list(zip(student.levels, teacher.levels, strict=True))


@torch.no_grad()
def _chosen(
    student: Locations, teacher: Locations, starts: Sequence[int], cells: int, anchors: tuple[int, int]
) -> list[Tensor]:
    """Return the places of one level that are pairs, [N, cells] of the student and of the teacher."""
    images, device = len(student.logits), student.logits.device
    every = [
        start + torch.arange(cells * count, device=device).view(1, cells, count).expand(images, -1, -1)
        for start, count in zip(starts, anchors, strict=True)
    ]
    if anchors[0] == anchors[1]:
        return [one.flatten(1) for one in every]
    if anchors[1] > 1:
        scores = teacher.logits.amax(dim=-1).gather(1, every[1].flatten(1)).view_as(every[1])
        best = scores.argmax(dim=2, keepdim=True)
        return [every[0][..., 0], every[1].gather(2, best).squeeze(2)]
    boxes = [
        side.boxes.gather(1, at.flatten(1)[..., None].expand(-1, -1, 4)).view(*at.shape, 4)
        for side, at in zip((student, teacher), every, strict=True)
    ]
    best = iou(boxes[0], boxes[1].expand_as(boxes[0])).argmax(dim=2, keepdim=True)
    return [every[0].gather(2, best).squeeze(2), every[1][..., 0]]


def _taken(one: Locations, at: Tensor) -> Locations:
    """Keep places, [M] of all images, or [N, M] of each."""
    images = len(one.logits)
    rows = at.expand(images, -1) if at.dim() == 1 else at

    def pick(values: Tensor | None) -> Tensor | None:
        if values is None:
            return None
        index = rows.reshape(*rows.shape, *[1] * (values.dim() - 2)).expand(*rows.shape, *values.shape[2:])
        return values.gather(1, index)

    centres = one.centres.expand(images, -1, -1) if one.centres is not None else None
    logits, boxes = pick(one.logits), pick(one.boxes)
    assert logits is not None
    assert boxes is not None
    return replace(
        one, logits=logits, boxes=boxes, quality=pick(one.quality), bins=pick(one.bins), centres=pick(centres)
    )


def _assigned_at(assigned: Assignment, at: Tensor) -> Assignment:
    rows = at.expand(len(assigned.weight), -1) if at.dim() == 1 else at
    return assigned._replace(weight=assigned.weight.gather(1, rows), positive=assigned.positive.gather(1, rows))
