"""The hosts that imitate chosen cells, instances and predictions: their hyperparameters, as `hosts` has the others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ikd.config.recipe.loss_section import Term
from ikd.config.section import Positive, Probability, Weight


class Fgfi(Term):
    """Fine-grained Feature Imitation: cells whose anchors overlap an object best."""

    psi: Probability = 0.5
    """A cell counts where an anchor overlaps an object by more than this share of the object's best overlap."""
    weight: Weight = 0.01
    """Weight (lambda)."""
    relu: bool = True
    """A ReLU behind the 3x3 adapter, as published; without it the student can follow negative features too."""


class Vkd(Term):
    """Vanilla KD: class scores at the same anchors, points or regions."""

    between_heads = True
    reads_maps = False

    temperature: Positive = 2.0
    """Temperature (T); its square multiplies the divergence."""
    weight: Weight = 1.0
    """Weight."""
    class_reduction: Literal["sum", "mean"] = "sum"
    """Over classes: their sum, as in the textbook, or their mean, smaller by their number."""


class Frs(Term):
    """Feature Richness Score: maps and class scores, each cell as much as the teacher scores it."""

    between_heads = True

    w_feature: Weight = 5e-3
    """Weight of the maps."""
    w_cls: Weight = 2e-2
    """Weight of the class scores; 0 leaves them out, so that the two heads may differ."""


class Defeat(Term):
    """Decoupled Features: objects and background apart, in the maps and in the class scores."""

    between_heads = True

    w_object: Weight = 3.0
    """Weight of the maps inside boxes."""
    w_background: Weight = 12.0
    """Weight of the maps outside."""
    w_head: Weight = 2.0
    """Weight of the class scores, of objects and of background alike; 0 leaves them out, so that the two heads may
    differ."""
    temperature: Positive = 1.0
    """Temperature of the class scores (T)."""


class Rkd(Term):
    """Relational KD: distances and angles between the objects of a batch."""

    w_distance: Weight = 25.0
    """Weight of the distances."""
    w_angle: Weight = 50.0
    """Weight of the angles."""
    normalise: bool = True
    """Bring every object's embedding to length 1."""
    most: Annotated[int, Field(ge=3)] = 64
    """Objects that are compared, drawn where there are more; memory grows with their cube."""


class Rmpfi(Term):
    """Rank Mimicking and Prediction-guided Feature Imitation (a reconstruction: the paper has no public code)."""

    reconstruction = True
    between_heads = True

    w_imitation: Weight = 1.5
    """Weight of the maps, which count where the heads disagree."""
    w_rank: Weight = 1.5
    """Weight of how an object's places are ranked."""
    squared: bool = False
    """Square the product of disagreement and error, as one port does."""
