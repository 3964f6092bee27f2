"""What surrounds an optimiser: mixed precision, clipping, the average over processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from ikd.training.apart import WithApart


class TrialOptimWrapper(OptimWrapper):
    """The optimiser of a trial, and what surrounds it: autocast, clipping, the average over processes.

    Nothing in it waits for a GPU: mmengine's own clipping would, for a log that nobody reads.

    Args:
        optimizer: of torch.
        model: what it trains, on its device.
        max_norm: largest L2 norm of all gradients together; None does not clip.
        autocast: type of the forward pass; None is full precision.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        *,
        max_norm: float | None = None,
        autocast: torch.dtype | None = None,
    ) -> None:
        super().__init__(optimizer)
        self.base_param_settings = None  # mmengine's further group, of nothing, beside several
        self._max_norm, self._autocast = max_norm, autocast
        self._device = next(model.parameters()).device
        self._together = averaging(model) if get_dist_info()[1] > 1 else None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with torch.autocast(self._device.type, dtype=self._autocast, enabled=self._autocast is not None):
            yield

    def losses(self, model: Any, data: dict[str, Any]) -> dict[str, Any]:
        """Return `model.losses(data)`; with several processes their backward pass averages the gradients."""
        if self._together is None:
            found: dict[str, Any] = model.losses(data)
            return found
        with warnings.catch_warnings():  # a phase in which all of the model is trained is no reason to warn
            warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
            shared: dict[str, Any] = self._together(data)
            return shared

    def clip(self) -> Tensor | None:
        """Clip the gradients; return their norm before that, a scalar on its device, or None where nobody asked."""
        if isinstance(self.optimizer, WithApart):
            return self.optimizer.clip(self._max_norm)
        if self._max_norm is None:
            return None
        return clip_grad_norm_([one for group in self.param_groups for one in group["params"]], self._max_norm)

    def step(self, **arguments: Any) -> None:
        """Take the optimiser's step; `clip` comes before."""
        self.optimizer.step(**arguments)


class ScaledOptimWrapper(TrialOptimWrapper):
    """Mixed precision in float16: the loss is scaled up, so that small gradients are not lost.

    A step whose gradients overflow is left out and the scale lowered. Finding that out waits for the GPU once more.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss_scaler = torch.amp.GradScaler(self._device.type)

    def backward(self, loss: Tensor, **arguments: Any) -> None:
        """Compute the gradients of the scaled loss."""
        super().backward(self.loss_scaler.scale(loss), **arguments)

    def clip(self) -> None:
        """Scale the gradients back and clip them; their norm may be infinite, as `step` finds out."""
        self.loss_scaler.unscale_(self.optimizer)
        super().clip()

    def step(self, **arguments: Any) -> None:
        """Take the step unless a gradient has overflowed."""
        self.loss_scaler.step(self.optimizer, **arguments)
        self.loss_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the scale."""
        return {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both."""
        optimizer = dict(state_dict)
        if (scale := optimizer.pop("loss_scaler", None)) is not None:
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(optimizer)


class _Losses(nn.Module):
    """A model whose forward pass is `losses`, as data-parallel training wants it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.model.losses(data)
        return found


def averaging(model: nn.Module) -> nn.Module:
    """Return the losses of a model as a module whose backward pass averages gradients over all processes.

    The averages of the last layers travel while the first ones are still at work. What no process trains in a phase
    gets no gradient, so that the optimiser leaves it alone; what some train counts as zero for the others. Running
    statistics are left to `average_statistics`.
    """
    with warnings.catch_warnings():  # newer torch has another name for it, which torch 2.6 lacks
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        return DistributedDataParallel(
            _Losses(model), broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
        )
