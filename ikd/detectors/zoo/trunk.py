"""The backbones of the small detectors: ResNet, ResNeXt and Swin of any width, from scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ikd.errors import BadInput

Depth = Literal[18, 34, 50]
Backbone = Literal["resnet", "resnext", "swin"]
_SWIN_BLOCKS: dict[int, int] = {18: 2, 34: 6, 50: 18}  # of the third stage; 6 is Swin-T, 18 is Swin-S
_SWIN_WINDOW = 5  # cells: divides every map of a 160 px image
_CARDINALITY = 4


@dataclass(frozen=True)
class Trunk:
    """What a small detector is made of below its head.

    Attributes:
        backbone: family.
        depth: layers of a ResNet or ResNeXt; a Swin has as many blocks in its third stage as the one of its depth (18:
            2, 34: 6 as Swin-T, 50: 18 as Swin-S).
        base_channels: width of the first stage; each further stage has twice that (bottlenecks put out four times it).
        neck_channels: width of the pyramid.
        deformable: deformable convolutions in all stages but the first; they need bottlenecks, so depth 50.

    Raises:
        BadInput: a combination that does not exist.
    """

    backbone: Backbone
    depth: Depth
    base_channels: int
    neck_channels: int
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

    def config(self, first_level: int) -> dict[str, Any]:
        """Return the backbone, its outputs from C`first_level` on; a Swin would have idle norms at the others."""
        return {**(self._swin() if self.backbone == "swin" else self._resnet()), "out_indices": _stages(first_level)}

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


def _stages(first_level: int) -> tuple[int, ...]:
    return tuple(range(first_level - 2, 4))
