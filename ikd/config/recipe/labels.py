"""The teacher's boxes as labels, and the photographs that have no other ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ikd.config.recipe.loss_section import Term
from ikd.config.section import Count, NonNegative, Probability, Section, Weight

Score = Annotated[float, Field(gt=0.0, le=1.0)]


class SoftLabels(Term):
    """The teacher's boxes as soft targets of a dense student: each at the places whose predictions fit it best."""

    between_heads = True
    reads_maps = False

    tau: Probability = 0.3
    """Least score of a box; 0.2 to 0.8."""
    alpha: NonNegative = 1.0
    """Power of the student's score in the alignment of place and box."""
    beta: NonNegative = 6.0
    """Power of the overlap in it."""
    candidates: Count = 13
    """Places of a box, at most (q)."""
    w_cls: Weight = 1.0
    """Weight of the classes."""
    w_box: Weight = 2.0
    """Weight of the boxes."""


class Labels(Section):
    """What the teacher sees is what the student is shown: on photographs without labels, and where labels are missing.

    The teacher looks at each image once, clean and at its own test scale; its boxes are kept for all trials. In a step
    the student's own loss is computed twice: L = L(labelled) + weight L(unlabelled). Hosts and other terms between the
    two detectors see both parts, and count each image alike.
    """

    enabled: bool = False
    """Switch; what of it acts on photographs without labels reads `data.unlabeled`."""
    threshold: Literal["auto"] | Score = "auto"
    """Least score of a box that is taught on a photograph without labels. `auto` is .7 for a teacher of two stages that
    scores by softmax, and .4 for all others (as MixPL has them)."""
    ignore: Score | None = None
    """Boxes from this score up to the threshold are neither objects nor background, by `ignore_iof_thr` .5; null takes
    them for background. Only for a student whose assigner knows ignored boxes (MaxIoU, ATSS)."""
    weight: NonNegative = 1.0
    """Of the student's own loss on photographs without labels; 0 leaves them to the terms between the detectors. A part
    without a box has weight 0."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps over which the weight rises in a line at the beginning of a stage; 0 is off."""
    ratio: Annotated[float, Field(gt=0.0, le=16.0)] = 1.0
    """Photographs without labels for each labelled image of a step. An epoch is a pass over the labelled ones."""
    labelled: Literal["keep", "fill"] = "keep"
    """Labelled images have their labels alone, or also what the teacher sees beside them, where labels are missing."""
    threshold_fill: Score = 0.6
    """For fill: least score of a box that is added. It overlaps every label by an IoU below .5."""
    form: Literal["hard", "soft", "both"] = "hard"
    """How the teacher's boxes teach: `hard`, as labels on photographs without others; `soft`, as soft targets on all
    images, beside the labels where there are some and in place of the hard form elsewhere; `both`, soft targets on all
    images and hard labels too. Soft targets put no pressure on the background. For a student with one dense head."""
    soft: SoftLabels = SoftLabels()
    """The soft form: one loss of all images, each counting alike."""

    @property
    def looks_at_labelled(self) -> bool:
        """Whether what the teacher sees in labelled images is read too."""
        return self.labelled == "fill" or self.form != "hard"


OFF_UNLABELLED = ("threshold", "ignore", "weight", "warmup", "ratio")
"""Fields that act on photographs without labels."""


def acting_labels(section: Mapping[str, Any], *, unlabelled: bool) -> dict[str, Any]:
    """Return what acts of the section that is switched on.

    Args:
        section: as plain values.
        unlabelled: whether there are photographs without labels.
    """
    idle = set() if unlabelled else set(OFF_UNLABELLED)
    if section["labelled"] == "keep":
        idle.add("threshold_fill")
    if not section["weight"]:
        idle.add("warmup")
    if section["form"] == "soft":
        idle |= {"weight", "warmup", "ignore"}
    if section["form"] == "hard":
        idle |= {"form", "soft"}
    return {key: value for key, value in section.items() if key not in idle}
