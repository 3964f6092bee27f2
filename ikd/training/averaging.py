"""What the processes of one trial do together; with one process all of it does nothing.

Every process sees its part of each batch and holds the whole model; gradients are averaged. Our losses are means over
images, and heads that count their positives over all processes (FCOS, GFL, ATSS) give means too: the gradient is that
of the whole batch, batch norm and padding apart. RetinaNet's and the two-stage heads count their own part's positives,
as in mmdet's distributed training, so that images with few objects weigh a little more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import all_reduce, all_reduce_params, get_dist_info
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class OrderSampler(Sampler[int]):
    """The order of the images in an epoch, the same in every process.

    Args:
        dataset: what is ordered.
        seed: of the trial.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed, self.epoch = dataset, seed, 0

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(torch.randperm(len(self.dataset), generator=generator).tolist())

    def __len__(self) -> int:
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, 0-based."""
        self.epoch = epoch


@DATA_SAMPLERS.register_module()
class SharedBatchSampler(AspectRatioBatchSampler):
    """Batches of the whole trial, of similar aspect ratio; a process takes its part of each.

    The last batch of an epoch may not share evenly: its parts weigh the same nevertheless.
    """

    def __iter__(self) -> Iterator[list[int]]:
        rank, processes = get_dist_info()
        for batch in super().__iter__():
            yield batch[rank::processes] or batch[:1]  # the last one may be too small for all


class _Averaging:
    """Averages gradients before they are clipped and used."""

    optimizer: torch.optim.Optimizer

    def backward(self, loss: torch.Tensor, **arguments: Any) -> None:
        """Compute this process's gradients, then their mean over all."""
        super().backward(loss, **arguments)  # type: ignore[misc]
        average_gradients([one for group in self.optimizer.param_groups for one in group["params"]])


class PlainOptimWrapper(_Averaging, OptimWrapper):
    """Full precision."""


class GpuAmpOptimWrapper(_Averaging, AmpOptimWrapper):
    """Mixed precision on a GPU: float16 with a scaled loss."""


class CpuAmpOptimWrapper(_Averaging, OptimWrapper):
    """Mixed precision on a CPU: bfloat16, whose range needs no loss scaling; mmengine's own wrapper is for GPUs."""

    def optim_context(self, model: torch.nn.Module) -> Any:
        """Run the forward pass under autocast."""
        return torch.autocast("cpu", dtype=torch.bfloat16)


@torch.no_grad()
def average_gradients(parameters: list[torch.Tensor]) -> None:
    """Replace gradients by their mean; who has none, where another process has one, counts as zero.

    One that no process has stays away: an optimiser would decay what is not trained in this phase.
    """
    if get_dist_info()[1] == 1 or not parameters:
        return
    used = torch.tensor([one.grad is not None for one in parameters], dtype=torch.uint8, device=parameters[0].device)
    all_reduce(used, op="max")
    shared = [one for one, flag in zip(parameters, used.tolist(), strict=True) if flag]
    for one in shared:
        if one.grad is None:
            one.grad = torch.zeros_like(one)
    all_reduce_params([one.grad for one in shared], op="mean")


def average_statistics(model: torch.nn.Module) -> None:
    """Replace the running statistics of normalisation layers that are learning by their mean."""
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
    tensors = [one for layer in layers for one in (layer.running_mean, layer.running_var) if one is not None]
    if tensors:
        all_reduce_params(tensors, op="mean")


def average_values(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the mean of named scalars."""
    tensors = [values[name].clone() for name in sorted(values)]
    all_reduce_params(tensors, op="mean")
    return dict(zip(sorted(values), tensors, strict=True))
