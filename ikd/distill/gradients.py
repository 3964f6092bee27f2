"""How hard each term pulls on the student: the one size in which terms can be compared.

The value of a loss says nothing about that. A generator takes up most of what a masked generative loss leaves over, so
that its value may be a hundred times the detection loss while its gradient on the student is smaller than detection's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def relative_pulls(
    detection: Tensor, terms: Mapping[str, Tensor], student: nn.Module, scale: float
) -> dict[str, float]:
    r"""Return of each term the norm of its gradient on the student's backbone over that of the detection loss.

    .. math:: \|\partial L_{term} / \partial\theta\|_2 \, / \, \|\partial L_{detection} / \partial\theta\|_2

    with theta the weights of the backbone that are trained, weights of the losses applied, before any clipping. The
    graph is kept, and nothing else is touched: no gradient is accumulated, no random number drawn. Of several processes
    each measures its own part of the batch.

    Args:
        detection: the sum of the student's own losses, a scalar of a graph.
        terms: scalars of the same graph.
        student: mmdet detector.
        scale: what losses are multiplied by before differentiating, so that half precision does not round to 0.

    Returns:
        By name; without a term whose ratio is not finite, as where `scale` overflows. Empty where the backbone is
        frozen, or recomputes its activations in the backward pass (`with_cp`), which can be done once only.
    """
    backbone = getattr(student, "backbone", None)
    weights = [one for one in backbone.parameters() if one.requires_grad] if backbone is not None else []
    if not weights or any(getattr(module, "with_cp", False) for module in student.modules()):
        return {}
    whole = float(_norm(detection * scale, weights))
    if not (math.isfinite(whole) and whole):
        return {}
    ratios = {name: float(_norm(loss * scale, weights)) / whole for name, loss in terms.items()}
    return {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}


def _norm(loss: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Return the L2 norm of a gradient, 0 where the loss does not depend on the weights."""
    if not loss.requires_grad:
        return loss.new_zeros(())
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    norms = [torch.linalg.vector_norm(one.float()) for one in gradients if one is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else loss.new_zeros(())
