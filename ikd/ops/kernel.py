"""What every plain kernel shares: the frame it runs in and its working precision."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` as a compiled kernel runs: outside autograd, and with autocast off.

    mmcv calls kernels from inside `autograd.Function`, where autocast is still on; a matrix product in there would
    silently drop to half precision, which the compiled kernels never do.
    """

    @functools.wraps(function)
    def framed(*args: P.args, **kwargs: P.kwargs) -> R:
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with torch.no_grad(), torch.autocast(first.device.type, enabled=False):
            return function(*args, **kwargs)

    return framed


def working(tensor: Tensor) -> Tensor:
    """Return `tensor` in the precision that kernels compute in: float64 stays, everything shorter becomes float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def add_gradients(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], upstream: Tensor, grads: Sequence[Tensor]
) -> None:
    """Add the gradients of a differentiable function of `inputs` to `grads`, in place; computed by autograd.

    Args:
        function: of the inputs in working precision.
        inputs: where it is differentiated.
        upstream: gradient of its result.
        grads: one for each input, shaped as it.
    """
    with torch.enable_grad():
        leaves = [working(tensor).detach().requires_grad_() for tensor in inputs]
        result = function(*leaves)
    for grad, found in zip(grads, torch.autograd.grad(result, leaves, working(upstream)), strict=True):
        grad += found.to(grad.dtype)
