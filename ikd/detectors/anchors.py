"""The anchors that a detector's head lays over its pyramid."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def base_anchors(detector: Any) -> list[Tensor] | None:
    """Return the anchors of the first cell of each level, finest first: [A, 4] corners in input pixels.

    Those of the RPN where there are two stages. None where the dense head predicts from points.

    Args:
        detector: mmdet detector.
    """
    heads = (getattr(detector, name, None) for name in ("rpn_head", "bbox_head"))
    head = next((one for one in heads if one is not None), None)
    found: list[Tensor] | None = getattr(getattr(head, "prior_generator", None), "base_anchors", None)
    return None if found is None else [level.detach() for level in found]
