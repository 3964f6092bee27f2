"""What CrossKD does differently from head to head: a row of functions each, by the name of the head's class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Predictions:
    """Outputs of a head in float32, per level: scores [N, A K, H, W], boxes [N, A d, H, W], centerness [N, A, H, W]."""

    scores: list[Tensor]
    boxes: list[Tensor]
    centerness: list[Tensor] | None = None


@dataclass
class Assignment:
    """The student's own assignment, per level in the order image, row, column, anchor (M = N H W A of the level).

    Attributes:
        weights: [M], weight of each anchor in the classification loss; 0 for ignored ones.
        positive: [M], whether the anchor has an object.
        count: number of positives, averaged over devices, at least 1.
    """

    weights: list[Tensor]
    positive: list[Tensor]
    count: Tensor


@dataclass(frozen=True)
class HeadFamily:
    """What CrossKD asks of a kind of head.

    Attributes:
        assigned: of the student's head and what its `get_targets` returned, gives the assignment.
        box_loss: of the teacher's head, the cross predictions and the teacher's own boxes a level, the weights of the
            anchors (flat, in the order level, image, row, column, anchor) and the divisor of a sum over anchors, gives
            the loss of the boxes before its weight.
        extra: of the cross predictions, the teacher's own and the assignment, gives further losses by name.
    """

    assigned: Callable[[Any, Sequence[Any]], Assignment]
    box_loss: Callable[[Any, list[Tensor], list[Tensor], Tensor, Tensor | int], Tensor]
    extra: Callable[[Predictions, Predictions, Assignment], dict[str, Tensor]] = lambda *_: {}


def flat(maps: list[Tensor], size: int) -> Tensor:
    """Flatten levels of [N, A size, H, W] to [M, size], in the order level, image, row, column, anchor."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, size) for level in maps])


def _anchors_assigned(head: Any, targets: Sequence[Any], *, first: int) -> Assignment:
    """Read labels and weights at the places `first` and after it; the head counts at least one positive an image."""
    labels, weights = ([level.flatten() for level in part] for part in targets[first : first + 2])
    return _assignment(head, labels, weights, weights[0].new_full((), float(targets[-1])))


def _points_assigned(head: Any, targets: Sequence[Any]) -> Assignment:
    labels = list(targets[0])
    return _assignment(head, labels, [torch.ones_like(label, dtype=torch.float) for label in labels], None)


def _assignment(head: Any, labels: list[Tensor], weights: list[Tensor], count: Tensor | None) -> Assignment:
    """Count the positives where the head has not, as its own loss does."""
    from mmdet.utils import reduce_mean  # mmdet only where a detector exists

    positive = [(label >= 0) & (label < head.num_classes) for label in labels]
    count = torch.cat(positive).sum().float() if count is None else count
    return Assignment(weights, positive, reduce_mean(count).clamp(min=1))


def _overlap_loss(
    head: Any, crossed: list[Tensor], taught: list[Tensor], weights: Tensor, divisor: Tensor | int, *, kind: str
) -> Tensor:
    """Return the weighted sum over anchors of the (G)IoU loss between decoded boxes, divided."""
    from mmdet.models.losses.iou_loss import giou_loss, iou_loss

    sizes = [boxes.shape[2:] for boxes in taught]
    priors = head.prior_generator.grid_priors(sizes, device=weights.device)
    priors = torch.cat([level.repeat(len(taught[0]), 1) for level in priors])
    ours, theirs = (head.bbox_coder.decode(priors, flat(boxes, 4)) for boxes in (crossed, taught))
    has_area = (theirs[:, 2:] > theirs[:, :2]).all(dim=1)
    loss: Callable[..., Tensor] = {"iou": iou_loss, "giou": giou_loss}[kind]
    return loss(ours, theirs, weight=weights * has_area, reduction="sum") / divisor


def _distribution_loss(
    head: Any, crossed: list[Tensor], taught: list[Tensor], weights: Tensor, divisor: Tensor | int
) -> Tensor:
    """Return the weighted mean over cells of KL(taught || crossed), summed over bins, averaged over the four sides."""
    from mmdet.utils import reduce_mean

    del head, divisor  # a mean already, over bins alone
    parts = []
    for ours, theirs in zip(crossed, taught, strict=True):
        shape = (len(ours), 4, -1, *ours.shape[2:])  # [N, 4, bins, H, W]
        log_ours, log_theirs = ours.view(shape).log_softmax(dim=2), theirs.view(shape).log_softmax(dim=2)
        divergence = F.kl_div(log_ours, log_theirs, reduction="none", log_target=True)
        parts.append(divergence.sum(dim=(1, 2)).flatten() / 4)
    return (torch.cat(parts) * weights).sum() / reduce_mean(weights.sum()).clamp(min=1)


def _centerness_loss(crossed: Predictions, taught: Predictions, assigned: Assignment) -> dict[str, Tensor]:
    assert crossed.centerness is not None
    assert taught.centerness is not None
    ours, theirs = flat(crossed.centerness, 1), flat(taught.centerness, 1).sigmoid()
    at_positives = torch.cat(assigned.positive).float().unsqueeze(1)
    loss = F.binary_cross_entropy_with_logits(ours, theirs, at_positives, reduction="sum") / assigned.count
    return {"loss_crosskd_centerness": loss}


_GIOU = partial(_overlap_loss, kind="giou")
_AFTER_ANCHORS = partial(_anchors_assigned, first=1)  # GFL and ATSS return their anchors first
FAMILIES: Mapping[str, HeadFamily] = MappingProxyType(
    {
        "ATSSHead": HeadFamily(_AFTER_ANCHORS, _GIOU, _centerness_loss),
        "FCOSHead": HeadFamily(_points_assigned, partial(_overlap_loss, kind="iou")),
        "GFLHead": HeadFamily(_AFTER_ANCHORS, _distribution_loss),
        "RetinaHead": HeadFamily(partial(_anchors_assigned, first=0), _GIOU),
    }
)
