"""Whether the RoI head of one detector can look at the pyramid of another for it."""

from __future__ import annotations

from typing import Any

from torch import nn

from ikd.distill.crosskd.fit import Row, check_alike
from ikd.errors import refuse

ROI_HEADS = ("CascadeRoIHead", "DoubleHeadRoIHead", "DynamicRoIHead", "MaskScoringRoIHead", "StandardRoIHead")
"""RoI heads whose loss samples regions and hands them to `bbox_loss`; subclasses only where listed."""
BOX_HEADS = ("BBoxHead", "ConvFCBBoxHead", "DoubleConvFCBBoxHead", "Shared2FCBBoxHead", "Shared4Conv1FCBBoxHead")
"""Box heads that say class logits of a softmax and coded boxes."""


def check_regions(student: nn.Module, teacher: nn.Module, asked: str) -> None:
    """Check that the teacher's RoI head can look at regions of the student on the student's pyramid.

    The pyramids may differ in width.

    Args:
        student: mmdet detector of two stages.
        teacher: mmdet detector of two stages.
        asked: what a person has set, for messages.

    Raises:
        BadInput: an RoI head or box head that is not listed, or other stages, classes, strides or coded boxes.
    """
    heads = [_roi_head(asked, detector, role) for detector, role in ((student, "student"), (teacher, "teacher"))]
    check_alike(asked, heads[0], heads[1], _SAME)


def widths(head: Any) -> int:
    """Return the channels of the pyramid that an RoI head looks at."""
    return int(_first(head.bbox_roi_extractor).out_channels)


def _roi_head(asked: str, detector: Any, role: str) -> Any:
    head, who = detector.roi_head, f"the {role}'s RoI head"
    if _name(head) not in ROI_HEADS:
        refuse(asked, f"must be between detectors with one of {', '.join(ROI_HEADS)} ({who})", _name(head))
    for one in _box_heads(head):
        if _name(one) not in BOX_HEADS:
            refuse(asked, f"must be between RoI heads with one of {', '.join(BOX_HEADS)} ({who})", _name(one))
        if getattr(one.loss_cls, "use_sigmoid", False) or one.custom_activation:
            refuse(asked, f"must be between RoI heads that score with a softmax ({who})", _name(one.loss_cls))
        if not (one.with_cls and one.with_reg):
            missing = "without classes" if one.with_reg else "without boxes"
            refuse(asked, f"must be between RoI heads of classes and boxes ({who})", f"{_name(one)} {missing}")
    return head


def _box_heads(head: Any) -> list[Any]:
    return list(head.bbox_head) if isinstance(head.bbox_head, nn.ModuleList) else [head.bbox_head]


def _first(module: Any) -> Any:
    return module[0] if isinstance(module, nn.ModuleList) else module


def _name(module: Any) -> str:
    return type(module).__name__


_SAME: tuple[Row, ...] = (
    (
        "box heads in a row",
        lambda head: len(_box_heads(head)),
        "pick a teacher with as many: a cascade teaches a cascade",
    ),
    ("numbers of classes", lambda head: _box_heads(head)[0].num_classes, "train both on the same classes"),
    (
        "strides of the levels that regions are read on",
        lambda head: list(_first(head.bbox_roi_extractor).featmap_strides),
        "give the student the teacher's bbox_roi_extractor.featmap_strides",
    ),
    (
        "reg_class_agnostic",
        lambda head: [bool(one.reg_class_agnostic) for one in _box_heads(head)],
        "let both say one box of all classes, or both one of each",
    ),
)
