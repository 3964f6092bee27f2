"""What every plain kernel shares: the frame it runs in and its working precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
