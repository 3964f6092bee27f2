"""Getting into a dense head of mmdet: reading its towers and targets, and entering it half way up."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass
class Seen:
    """What one forward of a head left behind.

    Attributes:
        classification: per level, [N, C, H, W] of the classification tower where the heads cross, before the ReLU.
        regression: the same of the regression tower.
        targets: what the head's own `get_targets` returned; None until it ran.
        asked: what that was called with, arguments and keywords.
        importance: of cells, for losses of maps; CrossKD tells them nothing.
        instances: of images, likewise.
    """

    classification: list[Tensor] = field(default_factory=list)
    regression: list[Tensor] = field(default_factory=list)
    targets: tuple[Any, ...] | None = None
    asked: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    importance: Sequence[Tensor] = ()
    instances: Sequence[Tensor] | None = None


class HasTargets(Protocol):
    """What keeps what a head's `get_targets` was called with, and what it returned."""

    targets: tuple[Any, ...] | None
    asked: tuple[tuple[Any, ...], dict[str, Any]] | None


@contextlib.contextmanager
def tower_features(head: Any, position: int) -> Iterator[Seen]:
    """Collect the features of both towers after `position` convolutions, before the ReLU, while the block lasts."""
    seen = Seen()

    def keep_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.classification.extend(inputs[0])
        seen.regression.extend(inputs[0])

    def keep(into: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], Tensor]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
            into.append(inputs[0])
            return inputs[0].clone()  # the ReLU works in place

        return hook

    if position == 0:
        hooks = [head.register_forward_pre_hook(keep_inputs)]
    else:
        towers = ((head.cls_convs, seen.classification), (head.reg_convs, seen.regression))
        hooks = [convs[position - 1].activate.register_forward_pre_hook(keep(into)) for convs, into in towers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def own_targets(head: Any, seen: HasTargets) -> Iterator[None]:
    """Record what `head.get_targets` returns while the block lasts: mmdet hands it to nobody."""
    compute, outer = head.get_targets, vars(head).get("get_targets")

    def record(*args: Any, **kwargs: Any) -> Any:
        seen.asked = tuple(map(kept, args)), {name: kept(value) for name, value in kwargs.items()}
        targets = compute(*args, **kwargs)
        seen.targets = tuple(targets)
        return targets

    head.get_targets = record  # on the instance, over the class's
    try:
        yield
    finally:
        del head.get_targets
        if outer is not None:  # somebody else's record around this one
            head.get_targets = outer


def kept(argument: Any) -> Any:
    """Return an argument of `get_targets` so that a head does not join its levels in place."""
    return list(argument) if isinstance(argument, list) else argument


class _Pick(nn.Module):
    """The first layer of a tower whose input is a pair: takes its own half."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """Return one of the pair."""
        return pair[self.index]


def upper(head: Any, position: int) -> Any:
    """Return a view of `head` that starts after `position` tower convolutions, from pairs of features a level.

    Shares every layer with `head`, so mmdet's own forward makes the predictions of each family.
    """
    view = copy.copy(head)
    view._modules = dict(head._modules)  # else the shallow copy would change the head itself
    for index, name in enumerate(("cls_convs", "reg_convs")):
        setattr(view, name, nn.ModuleList([_Pick(index), *getattr(head, name)[position:]]))
    return view
