"""Getting into a dense head of mmdet: reading its towers, and entering it half way up."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ikd.distill.crosskd.rows import CrossRow
from ikd.distill.recording import Call


@dataclass
class Seen:
    """What one forward of a head left behind.

    Attributes:
        maps: of each tower, classification first, per level [N, C, H, W] where the heads cross, before the activation;
            at position 0 once, of the neck.
        calls: by which the head's own loss labels places.
        importance: of cells, for losses of maps; CrossKD tells them nothing.
        instances: of images, likewise.
        labelled: boxes of the images are the truth, not the teacher's.
    """

    maps: list[list[Tensor]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    importance: Sequence[Tensor] = ()
    instances: Sequence[Tensor] | None = None
    labelled: bool = True


@contextlib.contextmanager
def tower_features(head: Any, row: CrossRow, position: int) -> Iterator[Seen]:
    """Collect what the towers hold after `position` convolutions, before the activation, while the block lasts."""
    seen = Seen()
    if position == 0:
        seen.maps.append([])
        hooks = [head.register_forward_pre_hook(_keep_inputs(seen.maps[0]))]
    else:
        hooks = []
        for activations in row.activations(head, position):
            seen.maps.append([])
            hooks += [one.register_forward_pre_hook(_keep(seen.maps[-1])) for one in activations]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _keep_inputs(into: list[Tensor]) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        into.extend(inputs[0])

    return hook


def _keep(into: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], Tensor]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        into.append(inputs[0])
        return inputs[0].clone()  # activations work in place

    return hook


class _Pick(nn.Module):
    """The first layer of a tower whose input is a pair: takes its own half."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        """Return one of the pair."""
        return pair[self.index]


def upper(head: Any, row: CrossRow, position: int) -> Any:
    """Return a view of `head` that starts after `position` tower convolutions, from pairs of features a level.

    Shares every layer with `head`, so mmdet's own forward makes the predictions of each family. At position 0 it is the
    head itself, from features a level.
    """
    if position == 0:
        return head
    view = copy.copy(head)
    view._modules = dict(head._modules)  # else the shallow copy would change the head itself
    for index, name in enumerate(row.towers):
        rest = [nn.Sequential(_Pick(index), *list(convs)[position:]) for convs in row.of_levels(head, name)]
        setattr(view, name, nn.ModuleList(rest) if row.nested else rest[0])
    return view
