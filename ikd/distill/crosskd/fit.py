"""Whether the head of one detector can take over the features of another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ikd.distill.crosskd.rows import CROSSED, CrossRow
from ikd.errors import BadInput, refuse

Row = tuple[str, Callable[[Any], Any], str]
"""What must agree, how to read it, and what to do about it; later rows presuppose the earlier ones."""

# what places and shapes the anchors of a prior generator, as far as it has it
_PRIORS = ("base_sizes", "scales", "ratios", "scale_major", "centers", "center_offset", "offset")


def check_heads(student: nn.Module, teacher: nn.Module, *, position: int, section: str = "distill.crosskd") -> CrossRow:
    """Check that the teacher's head can go on from the student's features after `position` tower convolutions.

    The towers may differ in length, norm and width, and so may the pyramids.

    Args:
        student: mmdet detector.
        teacher: mmdet detector.
        position: number of tower convolutions that the student runs itself; 0 is the neck's output.
        section: where it was set, for messages.

    Returns:
        How CrossKD gets into the kind of head that both have.

    Raises:
        BadInput: a detector without one of the heads in `CROSSED`, heads of different families, a position outside a
            tower, or other classes, levels, anchors, box coding or bins.
    """
    heads = {"student": _head(student, "student"), "teacher": _head(teacher, "teacher")}
    for role, head in heads.items():
        depth = CROSSED[_name(head)].depth(head)
        if not 0 <= position <= depth:
            why = f"the towers of the {role}'s {_name(head)} have {depth} convolutions"
            refuse(
                f"{section}.position",
                f"must be 0..{depth}, because {why}" if depth else f"must be 0, because a {_name(head)} has no towers",
                position,
            )
    check_alike("crosskd", heads["student"], heads["teacher"], (*SAME_PLACES, *SAME_BOXES))
    return CROSSED[_name(heads["teacher"])]


def check_alike(method: str, student: Any, teacher: Any, rows: Sequence[Row]) -> None:
    """Check that two heads are equal in some respects.

    Args:
        method: what a person is told compares them.
        student: head.
        teacher: head.
        rows: what must be equal, how it is read of a head, and what to do about it.

    Raises:
        BadInput: names the first respect in which they differ, and how.
    """
    for what, read, advice in rows:
        ours, theirs = read(student), read(teacher)
        if ours != theirs:
            raise BadInput(
                f"{method}: {what} must be equal, but the student has {ours}, the teacher {theirs}; {advice}"
            )


def _head(detector: nn.Module, role: str) -> Any:
    """Return the dense head; subclasses that are not listed are refused, because they assign or predict otherwise."""
    head = getattr(detector, "bbox_head", None)
    known = ", ".join(CROSSED)
    if head is None or hasattr(detector, "roi_head"):
        raise BadInput(
            f"crosskd: the {role} is a {_name(detector)}, which has no single dense head; CrossKD needs a one-stage "
            f"detector with one of {known}"
        )
    if _name(head) not in CROSSED:
        raise BadInput(f"crosskd: the {role} has a {_name(head)}; CrossKD needs one of {known}")
    if not getattr(head, "use_sigmoid_cls", True):
        raise BadInput(f"crosskd: the {role}'s {_name(head)} scores with a softmax; CrossKD needs loss_cls.use_sigmoid")
    return head


def _name(module: Any) -> str:
    return type(module).__name__


def _priors(head: Any) -> dict[str, Any]:
    generator = head.prior_generator
    found = {name: getattr(generator, name) for name in _PRIORS if hasattr(generator, name)}
    values = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in found.items()}
    return {"type": _name(generator), **values}


def _coder(head: Any) -> dict[str, Any] | None:
    coder = getattr(head, "bbox_coder", None)  # YOLOX decodes by itself
    return None if coder is None else {"type": _name(coder), **vars(coder)}


SAME_PLACES: tuple[Row, ...] = (
    ("head families", _name, "pick a teacher with the student's kind of head"),
    ("numbers of classes", lambda head: head.num_classes, "train both on the same classes"),
    (
        "strides of the levels",
        lambda head: [tuple(stride) for stride in head.prior_generator.strides],
        "give both the same pyramid (neck.num_outs, neck.start_level)",
    ),
    ("anchors", _priors, "give the student the teacher's anchor_generator"),
)
"""Two heads that predict scores of the same classes at the same places."""
SAME_BOXES: tuple[Row, ...] = (
    (
        "box coders",
        _coder,
        "give the student the teacher's bbox_coder",
    ),
    ("reg_max", lambda head: getattr(head, "reg_max", None), "give the student the teacher's reg_max"),
)
"""Two heads of the same places that write boxes alike."""
