"""A frozen detector that computes the loss it was trained with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from mmengine.logging import MessageHub
from torch import nn

LATE = 1_000_000
"""Epoch and step of a detector whose training is over: heads that warm up have long done so."""


@contextlib.contextmanager
def loss_mode(detector: nn.Module) -> Iterator[None]:
    """Let `loss` of a frozen detector be its training loss, while its layers stay as at test time.

    In eval mode many heads answer otherwise than their loss reads: VFNet leaves a tensor out, FCOS with `norm_on_bbox`
    gives boxes in another unit, DETRs draw no denoising queries. So the detector and its heads are told that they
    train. Only they are: norms keep their statistics and use them, dropout and drop path stay idle, nothing learns.
    Heads that ask how far the training has come are told `LATE`. Everything is put back in the end.
    """
    told = [module for module in _deciding(detector) if not module.training]
    children = [set(dict(module.named_children())) for module in told]
    for module in told:
        module.training = True
    try:
        with training_position(LATE):
            yield
    finally:
        for module, before in zip(told, children, strict=True):
            module.training = False
            for name in dict(module.named_children()).keys() - before:  # DDQ's decoder borrows layers of its head
                delattr(module, name)


def _deciding(detector: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules whose own mode decides what a loss sees: the detector, its heads, branching convolutions."""
    yield detector
    yield from _heads(detector)
    # TridentNet's backbone has one branch at test time and three in training, as its detector expects then
    yield from (module for module in detector.modules() if hasattr(module, "test_branch_idx"))


def _heads(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the heads below a module, those inside heads too, and a transformer's decoder, but none of their layers."""
    for name, child in module.named_children():
        if name.endswith("_head") or name == "decoder":
            for head in child if isinstance(child, nn.ModuleList) else [child]:
                yield head
                yield from _heads(head)


@contextlib.contextmanager
def training_position(at: int) -> Iterator[None]:
    """Tell heads that ask mmengine for it that training is at this epoch and step, where no trainer says so."""
    hub: Any = MessageHub.get_current_instance()
    before = {key: hub.get_info(key) for key in ("epoch", "iter")}
    for key in before:
        hub.update_info(key, at)
    try:
        yield
    finally:
        for key, value in before.items():
            hub.pop_info(key) if value is None else hub.update_info(key, value)
