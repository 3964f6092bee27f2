"""How CrossKD gets into each dense head of mmdet: a row each, by the name of its class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from ikd.distill.crosskd.compare import Overlap


@dataclass(frozen=True)
class CrossRow:
    """What is particular to a head whose features cross over.

    Attributes:
        towers: names of the lists of its classification and its regression convolutions; none where it has no towers
            of its own, and features cross before the head alone.
        nested: each level has a list of its own.
        overlap: which distance of boxes is published; of heads with bins the divergence of these comes instead.
        quality: what the loss between their qualities is called; None where there is none.
    """

    towers: tuple[str, ...] = ("cls_convs", "reg_convs")
    nested: bool = False
    overlap: Overlap = "giou"
    quality: str | None = None

    def depth(self, head: Any) -> int:
        """Return the convolutions of a tower, the highest position."""
        return int(head.stacked_convs) if self.towers else 0

    def widths(self, head: Any, position: int) -> list[int]:
        """Return the channels of what crosses over: of each tower, or of the neck at position 0."""
        if position == 0:
            return [int(head.in_channels)]
        return [int(_last(self.of_levels(head, tower)[0][position - 1]).out_channels) for tower in self.towers]

    def activations(self, head: Any, position: int) -> Iterator[list[nn.Module]]:
        """Yield for each tower what activates after `position` convolutions: of each level, or of all."""
        for tower in self.towers:
            yield [_last(convs[position - 1]).activate for convs in self.of_levels(head, tower)]

    def of_levels(self, head: Any, tower: str) -> list[Any]:
        """Return the convolutions of a tower: a list of each level, or one for all."""
        convs = getattr(head, tower)
        return list(convs) if self.nested else [convs]


def _last(layer: Any) -> Any:
    """Return the convolution of a layer that is activated last; a separable one has two."""
    return getattr(layer, "pointwise_conv", layer)


_ATSS = CrossRow(quality="centerness")
CROSSED: Mapping[str, CrossRow] = MappingProxyType(
    {
        "ATSSHead": _ATSS,
        "DDODHead": _ATSS,
        "FCOSHead": CrossRow(overlap="iou"),
        "GFLHead": CrossRow(),
        "PAAHead": _ATSS,
        "RTMDetHead": CrossRow(),
        "RTMDetSepBNHead": CrossRow(nested=True),
        "RetinaHead": CrossRow(),
        "TOODHead": CrossRow(towers=()),
        "VFNetHead": CrossRow(),
        "YOLOXHead": CrossRow(("multi_level_cls_convs", "multi_level_reg_convs"), nested=True, quality="objectness"),
    }
)
"""The heads between which CrossKD is defined."""
