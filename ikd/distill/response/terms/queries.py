"""Losses between what two DETRs predict of the same queries (KD-DETR; Wang et al., CVPR 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from ikd.distill.losses.crosskd import crosskd_classification
from ikd.distill.views import Assignment, Locations
from ikd.distill.views.boxes import giou_distance
from ikd.distill.views.distances import divergence


def kd_detr(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    w_cls: float,
    w_l1: float,
    w_giou: float,
    temperature: float,
    gamma: float,
    class_loss: str,
    layer: str,
    published: bool,
) -> dict[str, Tensor]:
    """Return `cls`, `l1` and `giou`, summed over the student's decoder layers.

    Queries weigh by the teacher's highest score of its last layer, over the sum of these weights, at least 1 (averaged
    over devices). Boxes compare as centres and sides in shares of the image. `published` is the authors' form: a
    divergence over the mean of classes, summed over queries rather than averaged, and boxes over the plain sum. The
    assignment is not read.

    Args:
        student: logits [D, N, Q, K] and boxes [D, N, Q, 4], or one layer without the first axis.
        teacher: the same queries.
        assigned: not read.
        w_cls: weight of the classes.
        w_l1: weight of the coordinates.
        w_giou: weight of the overlaps.
        temperature: of `kl`, which `published` and softmax heads take too.
        gamma: focus of `bce`.
        class_loss: `bce` or `kl`.
        layer: `last`: every layer learns from the teacher's last; `same`: from the same.
        published: see above.

    References:
        Wang et al., KD-DETR, CVPR 2024; `Myleswork/KD-DETR:models/DAB_DETR/kd_loss.py`.
    """
    from mmdet.utils import reduce_mean  # mmdet only where a detector exists

    del assigned
    ours, theirs = _layers(student), _layers(teacher)
    weights = theirs[0][-1].sigmoid().amax(dim=-1) if not teacher.softmax else _surest(theirs[0][-1])
    total = reduce_mean(weights.sum()).clamp(min=torch.finfo(weights.dtype).tiny if published else 1)
    parts: dict[str, list[Tensor]] = {"cls": [], "l1": [], "giou": []}
    for index, (logits, boxes) in enumerate(zip(*ours, strict=True)):
        wanted, there = (side[index if layer == "same" else -1] for side in theirs)
        if published or class_loss == "kl" or teacher.softmax:
            far = (divergence(logits, wanted, temperature) * weights).sum()
            parts["cls"].append(far / logits.shape[-1] if published else far / total)
        else:
            parts["cls"].append(crosskd_classification(logits, wanted, gamma, weights[..., None]) / total)
        near, far_off = (_as_shares(side, one.sizes) for side, one in ((boxes, student), (there, teacher)))
        parts["l1"].append(((near - far_off).abs().mean(dim=-1) * weights).sum() / total)
        parts["giou"].append((giou_distance(boxes, there) * weights).sum() / total)
    scales = {"cls": w_cls, "l1": w_l1, "giou": w_giou}
    return {name: scales[name] * torch.stack(found).sum() for name, found in parts.items()}


def _layers(one: Locations) -> tuple[Tensor, Tensor]:
    """Return logits and boxes with a first axis of layers."""
    if one.logits.dim() == 3:
        return one.logits[None], one.boxes[None]
    return one.logits, one.boxes


def _surest(logits: Tensor) -> Tensor:
    """Return the highest probability of a class but the background."""
    return logits.softmax(dim=-1)[..., :-1].amax(dim=-1)


def _as_shares(boxes: Tensor, sizes: Tensor | None) -> Tensor:
    """Return centres and sides, in shares of the image, of corners [N, Q, 4]."""
    if sizes is not None:
        boxes = boxes / sizes[:, None]
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)
