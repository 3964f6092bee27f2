"""What ikd knows of detectors by the names of their classes: where a neck is tapped, and which heads are special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn


@dataclass(frozen=True)
class Neck:
    """A neck whose output l comes from one convolution; a subclass that adds a path after them is another neck.

    Attributes:
        name: of its class.
        convolutions: their names below the neck, with `*` for the level.
    """

    name: str
    convolutions: str = "fpn_convs.*.conv"


@dataclass(frozen=True)
class Head:
    """A dense head that is not as most are.

    Attributes:
        name: of its class.
        loss_in_training: its forward gives what its loss reads in training mode only.
        tensors_by_level: its forward gives lists of tensors, one a level, as ONNX needs.
    """

    name: str
    loss_in_training: bool = False
    tensors_by_level: bool = True


NECKS: Mapping[str, Neck] = MappingProxyType(
    {row.name: row for row in (Neck("FPN"), Neck("FPN_CARAFE"), Neck("HRFPN"))}
)
HEADS: Mapping[str, Head] = MappingProxyType(
    {
        row.name: row
        for row in (
            Head("RepPointsHead", loss_in_training=True),
            Head("VFNetHead", loss_in_training=True),
            Head("SABLRetinaHead", tensors_by_level=False),  # pairs of tensors for the boxes
        )
    }
)


def head_row(head: object) -> Head:
    """Return what is special about a head; nothing where it has no row."""
    name = type(head).__name__
    return HEADS.get(name, Head(name))


def convolutions(neck: nn.Module, row: Neck) -> list[str]:
    """Return the names below the neck of the convolutions that a row tells of, finest level first.

    Returns:
        An empty list where an output has none.
    """
    modules = dict(neck.named_modules())
    levels, _, inside = row.convolutions.partition(".*")
    children = modules[levels].named_children() if levels in modules else ()
    names = [f"{levels}.{level}{inside}" for level, _ in children]
    return names if all(hasattr(modules.get(name), "out_channels") for name in names) else []
