"""The teacher's surest places as targets, which need no assignment (Zhou et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.distill.losses.crosskd import focused_entropy
from ikd.distill.views import Assignment, Locations, place_logits
from ikd.distill.views.boxes import giou_distance


def dense_teacher(
    student: Locations,
    teacher: Locations,
    assigned: Assignment,
    *,
    ratio: float,
    w_cls: float,
    w_box: float,
    w_quality: float,
) -> dict[str, Tensor]:
    r"""Return `cls`, `box` and, where both heads have one, `quality`.

    R are the `ratio` places of the batch with the highest teacher scores, S the sum of these. Scores follow the
    teacher's on R and 0 elsewhere, with a squared focal factor, over S; boxes and qualities are means over R. Scores
    of YOLOX are those of class and objectness together. The assignment is not read.

    References:
        Zhou et al., Dense Teacher, ECCV 2022; `Megvii-BaseDetection/DenseTeacher`.
    """
    del assigned
    wanted = place_logits(teacher).detach().sigmoid().flatten(0, 1)
    highest = wanted.amax(dim=1)
    surest = highest.topk(max(1, int(ratio * len(highest)))).indices
    target = torch.zeros_like(wanted).index_copy(0, surest, wanted[surest])
    ours = place_logits(student).flatten(0, 1)
    boxes = [side.flatten(0, 1)[surest] for side in (student.boxes, teacher.boxes.detach())]
    found = {
        "cls": w_cls * focused_entropy(ours, target, 2).sum() / highest[surest].sum().clamp(min=1e-6),
        "box": w_box * giou_distance(boxes[0], boxes[1]).mean(),
    }
    if student.quality is not None and teacher.quality is not None:
        sides = [side.flatten()[surest] for side in (student.quality, teacher.quality.detach())]
        found["quality"] = w_quality * F.binary_cross_entropy_with_logits(sides[0], sides[1].sigmoid())
    return found
