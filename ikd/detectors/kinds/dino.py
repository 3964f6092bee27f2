"""DINO's reference points: weights of the width that is published, in a decoder of twice that width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ikd.detectors.kinds.first import put_first

KEY = "decoder.ref_point_head.layers.0.weight"
_COORDINATES = 4
"""Of a reference box; each is encoded by as many features."""


def renewed(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return published weights of a DINO as the installed mmdet's decoder reads them; others as they are.

    A reference box is read as sines and cosines of its coordinates. DINO, as published and in mmdet up to 3.3, takes
    D/2 of them a coordinate, of frequencies T^(-4k/D), where D is its width; onedl-mmdetection 3.5 takes D, of
    frequencies T^(-2k/D). Every other of these is one of the former, so zeros at the rest compute the same.

    Args:
        weights: of a checkpoint.
        own: of the detector that they go into.
    """
    if KEY not in weights or KEY not in own:
        return weights
    theirs, ours = weights[KEY], own[KEY]
    width = len(ours)
    if theirs.shape != (width, 2 * width) or ours.shape != (width, _COORDINATES * width):
        return weights
    wide = theirs.new_zeros(width, _COORDINATES, width // 2, 2)
    wide[:, :, ::2] = theirs.reshape(width, _COORDINATES, width // 4, 2)
    return {**weights, KEY: wide.reshape(ours.shape)}


class Halved(nn.Module):
    """A layer for D/2 features a coordinate that is given D: takes those that are among both."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer's own output.

        Args:
            x: features of boxes, [..., 2 D], or [..., 4 D] of which every other pair of sine and cosine is taken.
        """
        parent: Any = super()
        layers: Any = self.layers
        if x.shape[-1] == 2 * layers[0].in_features:
            x = x.reshape(*x.shape[:-1], _COORDINATES, -1, 2)[..., ::2, :].flatten(-3)
        return parent.forward(x)


def read_as_published(detector: Any) -> None:
    """Let a Grounding DINO run whose decoder has kept the published width, where it is given twice that.

    mmdet 3.5 widened what all decoders of this family are given, and not this one, which then cannot make a step.
    """
    layer: Any = getattr(getattr(detector, "decoder", None), "ref_point_head", None)
    if any(kind.__name__ == "GroundingDINO" for kind in type(detector).__mro__) and layer is not None:
        put_first(Halved, layer)
