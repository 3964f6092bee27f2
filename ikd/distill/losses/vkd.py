"""Knowledge distillation of class scores (Hinton et al., 2015), as detectors do it."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets
from ikd.distill.losses.weights import Reduction

ClassReduction = Literal["sum", "mean"]


def softmax_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    r"""Return :math:`T^2 \, p_T (\log p_T - \log p_S)` of each class, p a softmax over the classes of z / T.

    Args:
        student: z_S, [..., K] logits.
        teacher: z_T, of the same shape, taken as constant.
        temperature: T > 0.

    Returns:
        [..., K]; the sum over classes is the divergence, >= 0.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
    """
    ours, theirs = ((side / temperature).log_softmax(dim=-1) for side in (student, teacher.detach()))
    return F.kl_div(ours, theirs, reduction="none", log_target=True) * temperature**2


def sigmoid_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    r"""Return :math:`T^2 KL(\sigma(z_T / T) \| \sigma(z_S / T))` between the two answers of each class.

    Args:
        student: z_S, logits of any shape.
        teacher: z_T, of the same shape, taken as constant.
        temperature: T > 0.

    Returns:
        The shape of the logits, >= 0 up to rounding.
    """
    ours, theirs = student / temperature, teacher.detach() / temperature
    wanted = theirs.sigmoid()
    cross, entropy = (F.binary_cross_entropy_with_logits(one, wanted, reduction="none") for one in (ours, theirs))
    return (cross - entropy) * temperature**2


class VKD(nn.Module):
    r"""Distillation of the class logits of one level, as sigmoids.

    .. math:: L = w \tfrac1B \sum T^2 KL(\sigma(z_T/T) \| \sigma(z_S/T))

    with B the number of boxes of the batch, at least 1: the stand-in for the number of positives where no head assigns
    any. Training uses `ScoreHeads`, which takes the normaliser from the student's head, and in detectors of two stages
    compares the scores of regions, as softmaxes.

    Args:
        temperature: T > 0.
        weight: w.
        class_reduction: `sum` over classes, as in the textbook, or `mean`, as in mmdet: smaller by their number.
        reduction: `published` sum over B, or `mean` over cells.
    """

    def __init__(
        self, *, temperature: float, weight: float, class_reduction: ClassReduction, reduction: Reduction = "published"
    ) -> None:
        super().__init__()
        self.temperature, self.weight, self.class_reduction = temperature, weight, class_reduction
        self.mean = reduction == "mean"

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, K, H, W] of logits. Of the boxes only their number counts."""
        total = over_classes(sigmoid_divergence(student, teacher, self.temperature), 1, self.class_reduction).sum()
        boxes = sum(len(boxes) for boxes in targets.boxes)
        return self.weight * total / (student[:, 0].numel() if self.mean else max(1, boxes))


def over_classes(divergences: Tensor, axis: int, reduction: ClassReduction) -> Tensor:
    """Sum or average over the classes, which lie along an axis."""
    return divergences.sum(dim=axis) if reduction == "sum" else divergences.mean(dim=axis)
