"""A teacher's boxes as soft targets of a dense student, whatever the teacher is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ikd.distill.labels import NAME
from ikd.distill.recording import expect_one_loss, outputs_of
from ikd.distill.response.terms import TERMS
from ikd.distill.views import Locations, unassigned
from ikd.distill.views.heads import dense_view_of, locations

_NOWHERE = -50.0
"""Logit of a class that a box is not of."""
_SURE = 1e-6
"""Scores are kept this far from 0 and 1 before they become logits."""


class SoftTargets:
    """The loss of a student's dense head towards boxes with scores that come with the samples of a batch.

    Holds the head without being a module, so that it does not enter the parameters of what holds it.

    Args:
        student: mmdet detector.
        hyperparameters: of the loss; see `terms.labels`.

    Raises:
        BadInput: the student has no dense head that can be read.
    """

    def __init__(self, student: nn.Module, **hyperparameters: Any) -> None:
        rule = "must be hard but for one-stage students"
        self._student: Any = dense_view_of("distill.labels.form", student, "student", rule)
        self._loss = TERMS["soft_labels"](**hyperparameters)

    @contextlib.contextmanager
    def capture(self) -> Iterator[list[Any]]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice.

        Raises:
            RuntimeError: no loss was computed inside the block, or more than one.
        """
        seen: list[Any] = []
        with outputs_of(self._student, seen):
            yield seen
        expect_one_loss(len(seen) == 1)

    def losses(self, seen: Sequence[Any], samples: Sequence[Any]) -> dict[str, Tensor]:
        """Return the weighted losses by name, `loss_labels_soft_cls` and `loss_labels_soft_box`, float32 scalars.

        Args:
            seen: of a `capture`.
            samples: of the batch, each with `scored_instances`.
        """
        (outputs,) = seen
        with torch.autocast(outputs[0][0].device.type, enabled=False):
            ours = locations(self._student, outputs)
            theirs = scored(samples, ours)
            parts = self._loss(ours, theirs, unassigned(theirs))
        return {f"loss_{NAME}_soft_{part}": value for part, value in parts.items()}


def scored(samples: Sequence[Any], like: Locations) -> Locations:
    """Return the boxes of samples with their scores, as a set of J places of each image; those short of J score 0.

    Args:
        samples: with `scored_instances`: `bboxes`, `scores` and `labels`.
        like: whose classes and type it has.
    """
    found = [one.scored_instances for one in samples]
    most = max(map(len, found))
    logits = like.logits.new_full((len(found), most, like.logits.shape[-1]), _NOWHERE)
    boxes = like.boxes.new_zeros(len(found), most, 4)
    for image, one in enumerate(found):
        sure = one.scores.to(logits.dtype).clamp(_SURE, 1 - _SURE).logit()
        logits[image, : len(one)].scatter_(1, one.labels[:, None], sure[:, None])
        boxes[image, : len(one)] = one.bboxes
    return Locations(logits, boxes)
