"""Cross-head knowledge distillation (Wang et al., CVPR 2024): the losses, between logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets
from ikd.distill.losses.weights import Reduction


def align_scale(student: Tensor, teacher: Tensor) -> Tensor:
    """Give each channel of the student the mean and the standard deviation that the teacher has there.

    Statistics run over (N, H, W) of this device's batch, unbiased, eps 1e-6 outside the root, as published: on several
    devices the result depends on how the batch is split. A channel of a single value becomes the teacher's mean.

    Args:
        student: [N, C, H, W].
        teacher: [N, C, H, W].

    Returns:
        [N, C, H, W], unchanged by positive affine maps of the student's channels.

    References:
        `jbwang1997/CrossKD:mmdet/models/detectors/crosskd_retinanet.py`.
    """
    (student_std, student_mean), (teacher_std, teacher_mean) = _statistics(student), _statistics(teacher)
    return (student - student_mean) / (student_std + 1e-6) * teacher_std + teacher_mean


def crosskd_classification(
    student_logits: Tensor, teacher_logits: Tensor, beta: float, weight: Tensor | None = None
) -> Tensor:
    r"""Quality focal loss towards the teacher's scores, summed.

    .. math:: \sum w \, \mathrm{BCE}(p, \sigma(z_T)) \, |\sigma(p) - \sigma(z_T)|^\beta

    Args:
        student_logits: p, any shape.
        teacher_logits: z_T, the same shape.
        beta: focus, >= 0. At 0 this is the plain cross-entropy, which is not zero at equality.
        weight: w, broadcast to the logits; None is 1.

    Returns:
        Scalar >= 0.

    References:
        CrossKD, Sec. 3.3; `jbwang1997/CrossKD:mmdet/models/losses/kd_loss.py`.
    """
    loss = focused_entropy(student_logits, teacher_logits.detach().sigmoid(), beta)
    return (loss if weight is None else loss * weight).sum()


def focused_entropy(logits: Tensor, target: Tensor, beta: float) -> Tensor:
    r"""Return :math:`\mathrm{BCE}(\sigma(z), t) \, |\sigma(z) - t|^\beta`, of any shape, element by element.

    Args:
        logits: z.
        target: t, of the same shape, 0..1, taken as constant.
        beta: focus, >= 0.
    """
    distance = (logits.sigmoid() - target).abs()
    if 0 < beta < 1:
        # the slope at equality is infinite, and backward would make NaN of it; nothing is left to learn there
        equal = distance == 0
        focus = distance.masked_fill(equal, 1.0).pow(beta).masked_fill(equal, 0.0)
    else:
        focus = distance.pow(beta)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none") * focus


class CrossKD(nn.Module):
    r"""Classification loss of CrossKD on the logits of one level.

    .. math:: L = w_{cls} \tfrac1B \sum \mathrm{BCE}(p, \sigma(z_T)) \, |\sigma(p) - \sigma(z_T)|^\beta

    with B the number of boxes of the batch, at least 1: the stand-in for the number of positives where no head assigns
    any. Training uses `CrossHeads`, which adds the box loss and takes its normaliser from the student's head.

    Args:
        w_cls: weight.
        beta: focus, >= 0.
        reduction: `published` sum over B, or `mean` over elements.
    """

    def __init__(self, *, w_cls: float, beta: float, reduction: Reduction = "published") -> None:
        super().__init__()
        self.w_cls, self.beta, self.mean = w_cls, beta, reduction == "mean"

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, K, H, W] of logits. Of the boxes only their number counts."""
        total = crosskd_classification(student, teacher, self.beta)
        boxes = sum(len(boxes) for boxes in targets.boxes)
        return self.w_cls * total / (student.numel() if self.mean else max(1, boxes))


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return standard deviation and mean per channel, [1, C, 1, 1] each; of a single value 0 and itself."""
    unbiased = min(1, features[:, 0].numel() - 1)
    deviation, mean = torch.std_mean(features, dim=(0, 2, 3), correction=unbiased, keepdim=True)
    return deviation, mean
