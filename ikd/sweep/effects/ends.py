"""How the end of a training is predicted from those that finished."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LEAST_FINISHED = 4
"""Finished trainings from which on the end of another is predicted."""
STEEPEST = 1.5
"""Points at the end that a point before stands for, at most."""


def predicted_end(
    finished: Sequence[tuple[float, float]], now: float, *, epoch: int, total: int
) -> tuple[float, float] | None:
    """Return what a training is expected to count with at its end, and the variance of that: a line through others.

    The slope is drawn to 1 in the last third of a training and to 1/2 before, as if by three more trainings, and cut
    to 0..`STEEPEST`.

    Args:
        finished: what each finished one counted with at the same epoch, and at its end; those without a finite value
            then are left out.
        now: what the training counts with now.
        epoch: epochs that it has finished.
        total: epochs of a whole training.

    Returns:
        None where fewer than `LEAST_FINISHED` are known, or nothing of the training.
    """
    early, late = np.array([pair for pair in finished if math.isfinite(pair[0])]).reshape(-1, 2).T
    if len(early) < LEAST_FINISHED or not math.isfinite(now):
        return None
    spread = float(((early - early.mean()) ** 2).sum())
    shared = float(((early - early.mean()) * (late - late.mean())).sum())
    drawn_to = 1.0 if 3 * epoch >= 2 * total else 0.5
    more = 3 * spread / len(early)
    slope = (shared + more * drawn_to) / (spread + more) if spread else drawn_to
    slope = min(max(slope, 0.0), STEEPEST)
    residuals = late - late.mean() - slope * (early - early.mean())
    return float(late.mean() + slope * (now - early.mean())), float((residuals**2).mean())
