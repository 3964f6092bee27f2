"""What the loss of a dense head makes of its places: their labels and weights, [N, M], and what tells objects apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ikd.distill.recording import Call
from ikd.distill.views.locations import Locations
from ikd.distill.views.priors import decoded, priors_of, strides_at


def at(head: Any, calls: Sequence[Call], images: int, *, first: int) -> tuple[Tensor, Tensor]:
    """Read labels and weights, a level each, at the places `first` and after it."""
    del head
    labels, weights = (
        torch.cat([level.reshape(images, -1) for level in part], dim=1) for part in calls[0].result[first : first + 2]
    )
    return labels, weights


def labels_alone(head: Any, calls: Sequence[Call], images: int) -> tuple[Tensor, Tensor]:
    """Read labels a level of FCOS and VFNet; the weights of the latter are those of all levels in one."""
    labels = [level.reshape(images, -1) for level in calls[0].result[0]]
    given = calls[0].result[1] if type(head).__name__ == "VFNetHead" else None
    joined = torch.cat(labels, dim=1)
    if not isinstance(given, Tensor):
        return joined, torch.ones_like(joined)
    parts = torch.split(given, [level.numel() for level in labels])
    return joined, torch.cat([part.view(images, -1) for part in parts], dim=1)


def reassigned(head: Any, calls: Sequence[Call], images: int) -> tuple[Tensor, Tensor]:
    """Read PAA's second assignment, an image each."""
    del head, images
    return torch.stack([one.result[0] for one in calls]), torch.stack([one.result[1] for one in calls])


def foreground(head: Any, calls: Sequence[Call], images: int) -> tuple[Tensor, Tensor]:
    """Read YOLOX's masks and scores wanted at positives, an image each; every place counts.

    Those scores are overlaps: 0 of a box that overlaps nothing, whose class the object of the same box says.
    """
    del images
    rows = []
    for call in calls:
        mask, scores, _, boxes, *_ = call.result
        objects = call.args[4]  # as its loss has it, by position
        same = (boxes[:, None] == objects.bboxes.to(boxes)).all(dim=2)
        by_box = objects.labels[same.to(torch.uint8).argmax(dim=1)] if len(boxes) else objects.labels[:0]
        classes = torch.where(scores.amax(dim=1) > 0, scores.argmax(dim=1), by_box)
        rows.append(torch.full_like(mask, head.num_classes, dtype=torch.long).masked_scatter(mask, classes))
    labels = torch.stack(rows)
    return labels, torch.ones_like(labels)


def boxes_at(head: Any, calls: Sequence[Call], said: Locations, *, place: int) -> Tensor:
    """Read boxes a level at a place of the result, [N, M, 4]."""
    del head
    levels = calls[0].result[place]
    return torch.cat([one.reshape(len(said.logits), -1, 4).float() for one in levels], dim=1)


def coded_boxes(head: Any, calls: Sequence[Call], said: Locations, *, place: int) -> Tensor:
    """Read offsets from anchors there."""
    coded = boxes_at(head, calls, said, place=place)
    return decoded(head, priors_of(head.prior_generator, said.levels, coded), coded)


def boxes_or_coded(head: Any, calls: Sequence[Call], said: Locations, *, place: int) -> Tensor:
    """Read what a head is told by `reg_decoded_bbox` to have there."""
    return (boxes_at if head.reg_decoded_bbox else coded_boxes)(head, calls, said, place=place)


def reached_boxes(head: Any, calls: Sequence[Call], said: Locations, *, place: int) -> Tensor:
    """Read distances from points there, of FCOS in strides if it has `norm_on_bbox`."""
    distances = boxes_at(head, calls, said, place=place)
    if type(head).__name__ == "FCOSHead" and head.norm_on_bbox:
        distances = distances * strides_at(said.levels, distances)
    assert said.centres is not None
    return decoded(head, said.centres, distances)


def foreground_boxes(head: Any, calls: Sequence[Call], said: Locations) -> Tensor:
    """Read YOLOX's boxes, which are there of positives alone."""
    del head, said
    rows = []
    for call in calls:
        mask, boxes = call.result[0], call.result[3].float()
        rows.append(boxes.new_zeros(len(mask), 4).masked_scatter(mask[:, None].expand(-1, 4), boxes))
    return torch.stack(rows)


def numbers(head: Any, calls: Sequence[Call], said: Locations) -> Tensor:
    """Read PAA's numbers of objects, an image each, [N, M, 1]; what it takes away again is positive no more."""
    del head
    found = said.logits.new_zeros(*said.logits.shape[:2], 1)
    for row, call in zip(found, calls, strict=True):
        places, objects = call.args[4:6]  # as its loss has them, by position
        row[places, 0] = objects.to(row.dtype)
    return found
