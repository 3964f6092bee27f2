"""What the processes of one trial do together; with one process all of it does nothing.

Every process sees its part of each batch and holds the whole model; gradients are averaged while they are computed
(`ikd.training.optim`). Our losses are means over
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
from mmengine.dist import all_reduce_params, get_dist_info
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


def average_statistics(model: torch.nn.Module, *, learning: bool = True) -> None:
    """Replace the running statistics of normalisation layers by their mean: of those that are learning, or of all."""
    norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    layers = [layer for layer in norms if layer.training or not learning]
    tensors = [one for layer in layers for one in (layer.running_mean, layer.running_var) if one is not None]
    if tensors:
        all_reduce_params(tensors, op="mean")


def average_values(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the mean of named scalars."""
    tensors = [values[name].clone() for name in sorted(values)]
    all_reduce_params(tensors, op="mean")
    return dict(zip(sorted(values), tensors, strict=True))
