"""The teacher's boxes as labels, and the photographs that have no other ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ikd.config.section import NonNegative, Section

Score = Annotated[float, Field(gt=0.0, le=1.0)]


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
    return {key: value for key, value in section.items() if key not in idle}
