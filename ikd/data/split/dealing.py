"""Dealing groups of images out to parts, so that each part has its share of everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDS = 20


def dealt(counts: Floats, shares: Sequence[float], seed: int) -> list[int]:
    """Return the part of each group: the large ones first, each where it is lacked most, then moved while that helps.

    The cost is the sum over parts and features of ((has - should have) / should have)^2, so that a class which a small
    part lacks costs as much as one that a large part lacks.

    Args:
        counts: [groups, features], images and boxes by class.
        shares: of the parts, sum 1.
        seed: of the order of groups of one size.
    """
    features = counts[:, counts.sum(0) > 0]
    wanted = np.outer(shares, features.sum(0))
    has = np.zeros_like(wanted)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-features[order].sum(1), kind="stable")]
    parts = np.full(len(counts), -1)
    for _ in range(ROUNDS):
        moved = False
        for group in order.tolist():
            own, before = features[group], int(parts[group])
            if before >= 0:
                has[before] -= own
            change = (((has + own - wanted) / wanted) ** 2 - ((has - wanted) / wanted) ** 2).sum(1)
            parts[group] = int(np.argmin(change))
            has[parts[group]] += own
            moved |= int(parts[group]) != before
        if not moved:
            break
    found: list[int] = parts.tolist()
    return found
