"""CrossKD's losses, between cross predictions and the teacher's own (Wang et al., CVPR 2024)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ikd.distill.losses.crosskd import crosskd_classification
from ikd.distill.views.boxes import giou_distance
from ikd.distill.views.distances import divergence, quality_loss
from ikd.distill.views.locations import Assignment, Locations

Overlap = Literal["giou", "iou"]


def crosskd(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    w_cls: float,
    w_reg: float,
    beta: float,
    overlap: Overlap = "giou",
    mean: bool = False,
) -> dict[str, Tensor]:
    """Return `cls`, `reg` and, where both have one, `quality`, of cross predictions in the place of a student's.

    Boxes weigh by the teacher's highest score: GIoU or -log IoU over the positives, or of heads with bins the
    divergence of these, a mean over sides, over the sum of the weights. With `mean` the classes are averaged over
    places and classes and the overlap over places instead; the other two are means already.
    """
    cls = crosskd_classification(student.logits, teacher.logits, beta, assigned.weight[..., None])
    weights = teacher.logits.detach().sigmoid().amax(dim=-1) * (assigned.weight != 0)
    if student.bins is not None and teacher.bins is not None:
        reg = _of_bins(student.bins, teacher.bins, weights)
    else:
        reg = _of_boxes(student.boxes, teacher.boxes, weights, overlap) / (weights.numel() if mean else assigned.count)
    found = {"cls": w_cls * cls / (teacher.logits.numel() if mean else assigned.count), "reg": w_reg * reg}
    if student.quality is not None and teacher.quality is not None:
        found["quality"] = quality_loss(student, teacher, assigned)
    return found


def _of_bins(ours: Tensor, theirs: Tensor, weights: Tensor) -> Tensor:
    from mmdet.utils import reduce_mean  # mmdet only where a detector exists

    return (divergence(ours, theirs, 1.0).mean(dim=-1) * weights).sum() / reduce_mean(weights.sum()).clamp(min=1)


def _of_boxes(ours: Tensor, theirs: Tensor, weights: Tensor, overlap: Overlap) -> Tensor:
    """Return the weighted sum over places; a teacher's box without area overlaps nothing, and does not count."""
    theirs = theirs.detach()
    has_area = (theirs[..., 2:] > theirs[..., :2]).all(dim=-1)
    distance = giou_distance(ours, theirs) if overlap == "giou" else _log_overlap(ours, theirs)
    return (distance * weights * has_area).sum()


def _log_overlap(ours: Tensor, theirs: Tensor) -> Tensor:
    from mmdet.models.losses.iou_loss import iou_loss

    flat: Tensor = iou_loss(ours.flatten(0, -2), theirs.flatten(0, -2), reduction="none")
    return flat.view(ours.shape[:-1])
