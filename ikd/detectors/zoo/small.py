"""What the small detectors are made of: every argument that several have is declared here, and nowhere else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field

from ikd.errors import BadInput

Channels = Annotated[int, Field(ge=4, multiple_of=4)]
Towers = Annotated[int, Field(ge=0, le=8)]
Levels = Annotated[int, Field(ge=3, le=6)]
Units = Annotated[int, Field(ge=8)]
Scale = Annotated[float, Field(gt=0, le=32)]
Depth = Literal[18, 34, 50]
Backbone = Literal["resnet", "resnext", "swin"]

_SWIN_BLOCKS: dict[int, int] = {18: 2, 34: 6, 50: 18}  # of the third stage; 6 is Swin-T, 18 is Swin-S
_SWIN_WINDOW = 5  # cells: divides every map of a 160 px image
_CARDINALITY = 4
_ALL_TAKE = ("base_channels", "neck_channels", "depth", "backbone")


@dataclass(frozen=True, kw_only=True)
class SmallDetector:
    """What a small detector is made of; each takes some of these as arguments, and has the others' defaults.

    Attributes:
        base_channels: width of the first backbone stage; each further stage has twice that (bottlenecks put out four
            times it).
        neck_channels: width of the pyramid, and of towers, point features and mask heads on it.
        tower_convs: 3x3 convolutions before each prediction.
        levels: pyramid levels from P3 (stride 8) on.
        head_units: width of the two fully connected layers of a box head.
        depth: layers of a ResNet or ResNeXt; a Swin has as many blocks in its third stage as the one of its depth (18:
            2, 34: 6 as Swin-T, 50: 18 as Swin-S).
        backbone: resnet, resnext (depth 50) or swin.
        masks: a mask head a stage; the data needs instance masks.
        deformable: deformable convolutions in all stages but the first; they need bottlenecks, so depth 50.

    Raises:
        BadInput: a combination that does not exist.
    """

    base_channels: Channels = 16
    neck_channels: Channels = 64
    tower_convs: Towers = 1
    levels: Levels = 5
    head_units: Units = 128
    depth: Depth = 18
    backbone: Backbone = "resnet"
    masks: bool = False
    deformable: bool = False

    def __post_init__(self) -> None:
        if self.backbone == "resnext" and self.depth != 50:
            raise BadInput(f"backbone 'resnext' is made of bottlenecks and needs depth=50; got depth={self.depth}")
        if self.deformable and (self.backbone == "swin" or self.depth != 50):
            raise BadInput(
                "deformable=True puts deformable convolutions into bottlenecks and needs backbone 'resnet' or "
                f"'resnext' with depth=50; got backbone {self.backbone!r}, depth={self.depth}"
            )

    def channels(self, first_level: int) -> list[int]:
        """Return the output channels of the stages from C`first_level` on."""
        bottlenecks = self.backbone != "swin" and self.depth == 50
        return [self.base_channels * (4 if bottlenecks else 1) * 2**stage for stage in range(first_level - 2, 4)]

    def backbone_config(self, first_level: int) -> dict[str, Any]:
        """Return the backbone, its outputs from C`first_level` on; a Swin would have idle norms at the others."""
        config = self._swin() if self.backbone == "swin" else self._resnet()
        return {**config, "out_indices": tuple(range(first_level - 2, 4))}

    def _resnet(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "type": "ResNet",
            "depth": self.depth,
            "num_stages": 4,
            "base_channels": self.base_channels,
            "frozen_stages": -1,
            "norm_cfg": {"type": "BN", "requires_grad": True},
            "norm_eval": False,
            "style": "pytorch",
        }
        if self.backbone == "resnext":
            # twice as wide inside as a ResNet's bottleneck, as X101-32x4d is
            config |= {"type": "ResNeXt", "groups": _CARDINALITY, "base_width": 2 * self.base_channels // _CARDINALITY}
        if self.deformable:
            config["dcn"] = {"type": "DCN", "deform_groups": 1, "fallback_on_stride": False}
            config["stage_with_dcn"] = (False, True, True, True)
        return config

    def _swin(self) -> dict[str, Any]:
        heads = math.gcd(self.base_channels, max(1, self.base_channels // 32))  # Swin has 32 channels a head
        return {
            "type": "SwinTransformer",
            "embed_dims": self.base_channels,
            "depths": (2, 2, _SWIN_BLOCKS[self.depth], 2),
            "num_heads": tuple(heads * 2**stage for stage in range(4)),
            "window_size": _SWIN_WINDOW,
            "drop_path_rate": 0.0,
        }


def takes(*fields: str) -> Callable[[Callable[..., dict[str, Any]]], Callable[..., dict[str, Any]]]:
    """Turn a function of a `SmallDetector` and keywords of its own into one of keywords alone.

    Args:
        fields: those of the `SmallDetector` that it takes, beside the widths, the depth and the backbone.
    """
    types = get_type_hints(SmallDetector, include_extras=True)
    shared = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name])
        for field in dataclasses.fields(SmallDetector)
        if field.name in (*_ALL_TAKE, *fields)
    ]

    def decorate(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        own = [one for one in signature(function, eval_str=True).parameters.values() if one.kind is one.KEYWORD_ONLY]

        @wraps(function)
        def detector(**arguments: Any) -> dict[str, Any]:
            small = {one.name: arguments.pop(one.name) for one in shared if one.name in arguments}
            return function(SmallDetector(**small), **arguments)

        # what is asked for the arguments: by people through the errors, and by the check of their types
        detector.__signature__ = Signature([*shared, *own])  # type: ignore[attr-defined]
        detector.__annotations__ = {one.name: one.annotation for one in (*shared, *own)}
        return detector

    return decorate
