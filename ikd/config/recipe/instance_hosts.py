"""The hosts that imitate chosen cells, instances and predictions: their hyperparameters, as `hosts` has the others."""

from __future__ import annotations

from ikd.config.recipe.loss_section import Term
from ikd.config.section import Probability, Weight


class Fgfi(Term):
    """Fine-grained Feature Imitation: cells whose anchors overlap an object best."""

    psi: Probability = 0.5
    """A cell counts where an anchor overlaps an object by more than this share of the object's best overlap."""
    weight: Weight = 0.01
    """Weight (lambda)."""
    relu: bool = True
    """A ReLU behind the 3x3 adapter, as published; without it the student can follow negative features too."""
