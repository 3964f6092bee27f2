"""Sigmoid focal loss (Lin et al., Focal Loss for Dense Object Detection, eq. 5) in plain PyTorch."""

from __future__ import annotations

import torch
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
    margin, factors = _margin(logits, target), (alpha - 1, -alpha)
    loss = output if output.dtype == margin.dtype else torch.empty_like(margin)
    torch._C._nn.log_sigmoid(margin, out=loss)  # type: ignore[call-arg]
    loss *= _times(margin.neg_().sigmoid_().pow_(gamma), target, factors)
    output.copy_(loss.mul_(_row_weight(loss, target, weight)))


@kernel
def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write d loss / d logits into `grad_input`, [N, C]; the other arguments as in the forward kernel."""
    margin, factors = _margin(logits, target), (1 - alpha, -alpha)
    grad = grad_input if grad_input.dtype == margin.dtype else torch.empty_like(margin)
    torch._C._nn.log_sigmoid(margin, out=grad)  # type: ignore[call-arg]
    grad *= torch.sigmoid(margin).mul_(gamma)
    wrong = margin.neg_().sigmoid_()
    torch.sub(wrong, grad, out=grad)
    grad *= _times(wrong.pow_(gamma), target, factors)
    grad_input.copy_(grad.mul_(_row_weight(grad, target, weight)))


def _margin(logits: Tensor, target: Tensor) -> Tensor:
    """Return how far each logit is on its right side, x where its class is the target, else -x; a new tensor."""
    margin = logits.to(working(logits[:0]).dtype, copy=True)
    return _times(margin, target, (-1.0, 1.0))


def _times(values: Tensor, target: Tensor, factors: tuple[float, float]) -> Tensor:
    """Multiply in place, by one factor off the target class of each row and by another on it; [N, C]."""
    if not values.numel():
        return values
    column = target.clamp(0, values.shape[1] - 1).unsqueeze(1)
    chosen = values.gather(1, column)
    on_target = (target == column.squeeze(1)).unsqueeze(1)
    values *= factors[0]
    return values.scatter_(1, column, torch.where(on_target, chosen * factors[1], chosen * factors[0]))


def _row_weight(x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the factor of each row, [N, 1]; background weighs 1: mmcv's kernel reads past the end of the array."""
    if weight.numel() == 0:
        return x.new_ones(1, 1)
    foreground = (target >= 0) & (target < len(weight))
    picked = working(weight)[target.clamp(0, len(weight) - 1)]
    return torch.where(foreground, picked, torch.ones_like(picked)).unsqueeze(1)
