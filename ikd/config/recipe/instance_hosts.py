"""The hosts that imitate chosen cells, instances and predictions: their hyperparameters, as `hosts` has the others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ikd.config.recipe.loss_section import Term
from ikd.config.section import Count, NonNegative, Positive, Probability, Weight

Steps = Annotated[int, Field(ge=0)]


class Fgfi(Term):
    """Fine-grained Feature Imitation: cells whose anchors overlap an object best."""

    beside = ("warmup",)
    rises = "at once"

    psi: Probability = 0.5
    """A cell counts where an anchor overlaps an object by more than this share of the object's best overlap."""
    weight: Weight = 0.01
    """Weight (lambda)."""
    relu: bool = True
    """A ReLU behind the 3x3 adapter, as published; without it the student can follow negative features too."""
    warmup: Steps = 400
    """Steps of a stage that pass before the loss acts; then it acts whole."""


class CrossKdRoi(Term):
    """CrossKD of two stages: the student's sampled regions, by the teacher's RoI head on the student's pyramid."""

    between_heads = True
    reads_maps = False

    w_cls: Weight = 0.5
    """Weight of the classes; 0.05 to 5."""
    w_reg: Weight = 1.0
    """Weight of the coded boxes; 0.1 to 8."""
    w_mask: Weight = 1.0
    """Weight of the masks, where both have them; a sum over pixels and classes, 0.01 to 4."""
    temperature: Positive = 3.0
    """Temperature of the softmax: 1, 2, 3 or 5."""


class CrossKd(Term):
    """CrossKD: the student's features through the teacher's head, of dense heads or of two stages."""

    between_heads = True
    reads_maps = False

    position: Annotated[int, Field(ge=0)] = 3
    """Tower convolution after which the student's feature crosses over (i); 0 is the neck's output.

    RTMDet and YOLOX have two: 1 suits them. TOOD has no towers, and takes 0 alone. Of two stages the pyramid crosses
    over, whatever this says.
    """
    connector: Literal["auto", "always"] = "auto"
    """A trained 1x1 convolution for each tower, or for the pyramid of two stages, brings the student to the teacher's
    width where they cross: `auto` where the widths differ, `always` also where they are equal. It is left out of the
    exported student."""
    w_cls: Weight = 1.0
    """Weight of the classification term of dense heads."""
    w_reg: Weight = 1.0
    """Weight of the box term of dense heads."""
    beta: NonNegative = 1.0
    """Exponent of the quality-focal modulation of dense heads."""
    roi: CrossKdRoi = CrossKdRoi()
    """Between two detectors of two stages, in place of w_cls, w_reg and beta."""


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
    beside = ("warmup",)
    rises = "linearly"

    w_feature: Weight = 5e-3
    """Weight of the maps."""
    w_cls: Weight = 2e-2
    """Weight of the class scores; 0 leaves them out, so that the two heads may differ."""
    warmup: Steps = 500
    """Steps of a stage over which both weights rise from 0, in a line."""


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


class Gid(Term):
    """General Instance Distillation: what student and teacher disagree on most (a reconstruction: no public code)."""

    reconstruction = True
    between_heads = True

    count: Steps = 10
    """Instances of an image (K); 0 chooses none, so that nothing is distilled."""
    overlap: Probability = 0.3
    """Instances of an image overlap by no more than this IoU."""
    w_feature: Weight = 5e-4
    """Weight of the features of instances (lambda1)."""
    w_relation: Weight = 40.0
    """Weight of the distances between instances (lambda2)."""
    w_response: Weight = 1.0
    """Weight of the predictions at instances (lambda3); 0 leaves them out, and the heads choose instances all the
    same."""
    cls_share: NonNegative = 0.1
    """How much class scores count within the predictions."""
    box_share: NonNegative = 1.0
    """How much boxes count within the predictions."""


class Icd(Term):
    """Instance-Conditional KD: where a decoder of the teacher's maps looks for the objects."""

    beside = ("warmup", "fakes", "most", "jitter", "decoder_lr", "decoder_clip")
    rises = "at once"
    decodes = True

    weight: Weight = 8.0
    """Weight; 3 for two-stage detectors."""
    dims: Annotated[int, Field(ge=4, multiple_of=4)] = 256
    """Width of the decoder."""
    heads: Count = 8
    """Attention heads; they divide dims into parts of two and more."""
    warmup: Steps = 1000
    """Steps of a stage in which the decoder learns alone."""
    fakes: NonNegative = 5.0
    """Made-up objects for each real one, which the decoder tells apart."""
    most: Count = 300
    """Objects of an image that it is asked for, where fewer are real; 100 for two-stage detectors."""
    jitter: Annotated[float, Field(ge=0.0, le=0.5)] = 0.3
    """How far a place that it is told is from the centre, at most, as a share of the box's sides."""
    decoder_lr: Positive = 1e-4
    """Peak learning rate of the decoder, by an AdamW of its own; it follows the schedule of the student's."""
    decoder_clip: Positive = 0.01
    """Largest L2 norm of the decoder's gradients."""
