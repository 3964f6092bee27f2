"""Published DINOs in a decoder that reads reference points twice as finely."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ikd.detectors import Checkpoint, build_detector, detector_config, load_weights
from ikd.detectors.kinds.dino import KEY
from ikd.errors import CheckpointError


def dino(seed: int) -> Any:
    torch.manual_seed(seed)
    return build_detector(detector_config("ikd::dino_r18", arguments={"base_channels": 8}, classes=["a", "b"]))


def published(boxes: torch.Tensor, features: int) -> torch.Tensor:
    """Encode boxes [N, 4] as the authors do: per coordinate y, x, w, h, `features` sines and cosines in turn."""
    found = []
    for coordinate in (1, 0, 2, 3):
        for pair in range(features // 2):
            angle = boxes[:, coordinate] * 2 * math.pi / 10000 ** (2 * pair / features)
            found += [angle.sin(), angle.cos()]
    return torch.stack(found, 1)


def saved(detector: Any, weight: torch.Tensor) -> Checkpoint:
    return Checkpoint({**detector.state_dict(), KEY: weight}, None, "", "dino.pth")


def test_published_weights_compute_what_they_computed() -> None:
    other, detector = dino(0), dino(1)
    from mmdet.models.layers.transformer.utils import coordinate_to_encoding  # mmcv's operators are there by now

    width = other.embed_dims
    weight = torch.randn(width, 2 * width)
    load_weights(detector, saved(other, weight), classes=["a", "b"])
    boxes = torch.rand(7, 4)
    layer = detector.decoder.ref_point_head.layers[0]
    found = layer(coordinate_to_encoding(boxes[None], num_feats=width)[0])
    torch.testing.assert_close(found, F.linear(published(boxes, width // 2), weight, layer.bias), rtol=1e-5, atol=1e-5)
    assert layer.weight.count_nonzero() == weight.numel()  # nothing else was made up


def test_weights_of_its_own_width_are_taken_as_they_are() -> None:
    other, detector = dino(0), dino(1)
    weight = torch.randn_like(other.state_dict()[KEY])
    load_weights(detector, saved(other, weight), classes=["a", "b"])
    assert torch.equal(detector.state_dict()[KEY], weight)


@pytest.mark.parametrize("columns", [1, 3])
def test_any_other_width_is_refused(columns: int) -> None:
    other, detector = dino(0), dino(1)
    with pytest.raises(CheckpointError, match=r"dino\.pth' is of another architecture: decoder\.ref_point_head"):
        load_weights(detector, saved(other, torch.randn(other.embed_dims, columns * other.embed_dims)), classes=None)
