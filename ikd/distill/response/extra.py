"""Response terms of a recipe: several losses between the heads of two detectors, beside the host or with none."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ikd.distill.response.places import SeenHead, dense_capture
from ikd.distill.response.terms import TERMS
from ikd.distill.views.heads import counted, dense_view_of, locations, said_by, strides_of
from ikd.errors import refuse


class ResponseTerms:
    """Losses between what the dense heads of a student and a frozen teacher predict.

    All read one record of the student's loss and one forward of the teacher's head. Holds both heads without being a
    module, so that neither enters the parameters of what holds it.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        terms: hyperparameters of each term, by its name.

    Raises:
        BadInput: the two heads cannot be compared by one of the terms; says why.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Mapping[str, Any]]) -> None:
        for name in terms:
            _check(name, student, teacher)
        self._student: Any = student.bbox_head
        self._teacher: Any = teacher.bbox_head
        self._terms = {name: TERMS[name](**hyperparameters) for name, hyperparameters in terms.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms."""
        return tuple(self._terms)

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice; see `dense_capture`."""
        return dense_capture(self._student)

    def losses(
        self, seen: SeenHead, teacher_features: Sequence[Tensor], objects: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Return the weighted losses by name, `loss_TERM_PART`, float32 scalars.

        Args:
            seen: of a `capture`.
            teacher_features: outputs of the teacher's neck on the same images, [N, C, H, W] a level.
            objects: boxes of the truth, [G, 4] in input pixels an image.
        """
        with torch.autocast(teacher_features[0].device.type, enabled=False):
            theirs = said_by(self._teacher, teacher_features)
            ours = locations(self._student, seen.outputs[0])
            assigned = counted(self._student, seen, len(ours.logits), theirs, objects)
            return {
                f"loss_{name}_{part}": value
                for name, term in self._terms.items()
                for part, value in term(ours, theirs, assigned).items()
            }


def _check(name: str, student: Any, teacher: Any) -> None:
    """Check that the heads of two detectors can be compared by a term.

    Raises:
        BadInput: names the term's field, and in which respect they cannot.
    """
    where = f"distill.response.{name}"
    heads = [dense_view_of(where, *side) for side in ((student, "student"), (teacher, "teacher"))]
    classes = [int(head.num_classes) for head in heads]
    if classes[0] != classes[1]:
        refuse(where, "must be between heads of equal classes (student, teacher)", classes)
    strides = [strides_of(head) for head in heads]
    if not set(strides[0]) & set(strides[1]):
        refuse(where, "must be between heads with a stride in common (student, teacher)", strides)
    anchors = [{int(one) for one in _anchors(head)} for head in heads]
    if anchors[0] != anchors[1] and {1} not in anchors:
        rule = "must be between heads of equal anchors, or of one a cell on one side (student, teacher)"
        refuse(where, rule, [sorted(side) for side in anchors])
    if name == "ld":
        bins = [getattr(head, "reg_max", None) for head in heads]
        rows = [type(head).__name__ in ("GFLHead", "LDHead") for head in heads]
        if not all(rows) or bins[0] != bins[1]:
            rule = (
                "must be between heads that predict distributions over equal bins (GFLHead, LDHead; student, teacher)"
            )
            refuse(
                where, rule, [f"{type(head).__name__} of reg_max {one}" for head, one in zip(heads, bins, strict=True)]
            )


def _anchors(head: Any) -> Sequence[int]:
    return head.prior_generator.num_base_priors or [1]
