"""Sigmoid focal loss (Lin et al., Focal Loss for Dense Object Detection, eq. 5) in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ikd.ops.kernel import kernel, working

# mmcv's kernels take log(1 - sigmoid(x)), which loses all its digits as x grows (at x = 17 in float32 it is log of 0,
# cut off at -87). Here it is logsigmoid(-x): the same mathematics, exact for every x, and what mmdet does on the CPU.


@kernel
def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the unreduced loss of every row and class into `output`.

    Args:
        logits: [N, C].
        target: class of each row, 0..C-1; any other value means that no class is positive, [N].
        weight: one factor per class, [C], applied to rows of that class; empty means 1 everywhere.
        output: written, [N, C].
        gamma: focusing exponent, >= 0; 0 gives the alpha-weighted cross entropy.
        alpha: weight of positives, 0..1; negatives weigh 1 - alpha.
    """
    x = working(logits)
    positive = -alpha * torch.sigmoid(-x) ** gamma * F.logsigmoid(x)
    negative = (alpha - 1) * torch.sigmoid(x) ** gamma * F.logsigmoid(-x)
    output.copy_(torch.where(_is_target(x, target), positive, negative) * _row_weight(x, target, weight))


@kernel
def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write d loss / d logits into `grad_input`, [N, C]; the other arguments as in the forward kernel."""
    x = working(logits)
    p, q = torch.sigmoid(x), torch.sigmoid(-x)
    positive = -alpha * q**gamma * (q - gamma * p * F.logsigmoid(x))
    negative = (alpha - 1) * p**gamma * (gamma * q * F.logsigmoid(-x) - p)
    grad_input.copy_(torch.where(_is_target(x, target), positive, negative) * _row_weight(x, target, weight))


def _is_target(x: Tensor, target: Tensor) -> Tensor:
    return target.unsqueeze(1) == torch.arange(x.shape[1], device=x.device)  # [N, C]


def _row_weight(x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the factor of each row, [N, 1]; background weighs 1: mmcv's kernel reads past the end of the array."""
    if weight.numel() == 0:
        return x.new_ones(1, 1)
    foreground = (target >= 0) & (target < len(weight))
    picked = working(weight)[target.clamp(0, len(weight) - 1)]
    return torch.where(foreground, picked, torch.ones_like(picked)).unsqueeze(1)
