"""What the one-stage detectors have in common."""

from __future__ import annotations

from typing import Any

from ikd.detectors.zoo._parts import body, preprocessor
from ikd.detectors.zoo._trunk import Trunk

FIRST_LEVEL = 3


def dense_detector(
    detector: str, trunk: Trunk, *, levels: int, extra: str, head: dict[str, Any], norm: bool = False
) -> dict[str, Any]:
    """Return a detector of class `detector` with this head on P3 and above; the other arguments are those of `body`."""
    neck = trunk.neck_channels
    return {
        "type": detector,
        "data_preprocessor": preprocessor(),
        **body(trunk, first_level=FIRST_LEVEL, levels=levels, extra=extra, norm=norm),
        "bbox_head": {"num_classes": 80, "in_channels": neck, "feat_channels": neck, **head},
    }
