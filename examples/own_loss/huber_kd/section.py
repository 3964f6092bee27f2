"""What a recipe may say of the loss. This module is read with every command: it imports nothing but `ikd.config`."""

from __future__ import annotations

from ikd.config import Positive, Term, Weight


class Huber(Term):
    """Huber distance of the maps."""

    implementation = "huber_kd.loss:HuberLoss"

    weight: Weight = 1.0
    """Weight."""
    delta: Positive = 1.0
    """Where the distance turns from square to linear."""
