"""Whether two detectors answer the same questions: the same classes for the same anchors, points or regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ikd.distill.crosskd.fit import SAME_PLACES, check_alike
from ikd.distill.views.heads import ROWS
from ikd.errors import BadInput

DENSE = (*ROWS, "RPNHead")
"""Heads that score every place of the pyramid in a way that is known."""


def has_two_stages(detector: Any) -> bool:
    """Tell whether a detector classifies regions that it has proposed itself."""
    return getattr(detector, "roi_head", None) is not None


def check_stages(method: str, student: nn.Module, teacher: nn.Module) -> None:
    """Check that both detectors have one stage, or both two.

    Raises:
        BadInput: names both.
    """
    stages = [has_two_stages(one) for one in (student, teacher)]
    if stages[0] != stages[1]:
        raise BadInput(
            f"{method}: must be between two one-stage or two two-stage detectors, whose heads score the same places, "
            f"but the student is a {_name(student)} and the teacher a {_name(teacher)}; pick a teacher of the "
            f"student's kind, or a loss between maps"
        )


def dense_head(method: str, detector: Any, role: str) -> Any:
    """Return the head that scores every place of the pyramid: of two stages, the RPN's.

    Raises:
        BadInput: it is of another kind.
    """
    head: Any = (
        getattr(detector, "rpn_head", None) if has_two_stages(detector) else getattr(detector, "bbox_head", None)
    )
    if _name(head) not in DENSE or not getattr(head, "use_sigmoid_cls", True):
        found = "no dense head" if head is None else f"a {_name(head)}"
        softmax = " with a softmax" if _name(head) in DENSE else ""
        raise BadInput(
            f"{method}: the {role}, a {_name(detector)}, has {found}{softmax}; class scores are read from one of "
            f"{', '.join(sorted(DENSE))} that scores with sigmoids"
        )
    return head


def dense_pair(method: str, student: nn.Module, teacher: nn.Module) -> tuple[Any, Any]:
    """Return two dense heads that score the same classes at the same places.

    Raises:
        BadInput: they do not; says in which respect.
    """
    check_stages(method, student, teacher)
    ours, theirs = dense_head(method, student, "student"), dense_head(method, teacher, "teacher")
    check_alike(method, ours, theirs, SAME_PLACES)
    return ours, theirs


def region_pair(method: str, student: nn.Module, teacher: nn.Module) -> tuple[Any, Any]:
    """Return the RoI heads of two detectors of two stages, which score the same classes for any region.

    Raises:
        BadInput: they do not; says in which respect.
    """
    check_stages(method, student, teacher)
    heads = [_region_head(method, detector, role) for detector, role in ((student, "student"), (teacher, "teacher"))]
    classes = [int(head.bbox_head.num_classes) for head in heads]
    if classes[0] != classes[1]:
        raise BadInput(
            f"{method}: numbers of classes must be equal, but the student has {classes[0]}, the teacher {classes[1]}; "
            f"train both on the same classes"
        )
    return heads[0], heads[1]


def _region_head(method: str, detector: Any, role: str) -> Any:
    head = detector.roi_head
    if (why := next(_unfit(head), None)) is not None:
        raise BadInput(
            f"{method}: the {role}, a {_name(detector)}, {why}; scores of regions are compared between detectors like "
            f"Faster and Mask R-CNN; take one as {role}, or a loss between maps"
        )
    return head


def _unfit(head: Any) -> Iterator[str]:
    """Yield what is in the way of reading the class logits of one region."""
    if isinstance(getattr(head, "bbox_head", None), nn.ModuleList):
        yield f"scores regions in {len(head.bbox_head)} steps that move them"
    elif getattr(head, "bbox_head", None) is None or not hasattr(head, "_bbox_forward"):
        yield f"has a {_name(head)} without one box head"
    elif head.bbox_head.loss_cls is None or getattr(head.bbox_head.loss_cls, "use_sigmoid", False):
        yield f"scores regions with sigmoids (its {_name(head.bbox_head)})"
    elif getattr(head, "num_instance", 1) > 1:
        yield f"scores {head.num_instance} objects in each region (its {_name(head)})"
    elif getattr(head.bbox_head, "custom_activation", False):
        yield f"scores regions in a way of its own (its {_name(head.bbox_head)})"


def _name(module: Any) -> str:
    return type(module).__name__
