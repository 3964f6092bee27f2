"""Cross-head knowledge distillation (Wang et al., CVPR 2024).

The student's head feature is sent through the upper layers of the teacher's head, and what comes out is compared with
the teacher's own prediction: `CrossHeads`, between two detectors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ikd.distill.crosskd.compare import crosskd
from ikd.distill.crosskd.fit import check_heads
from ikd.distill.crosskd.towers import Seen, tower_features, upper
from ikd.distill.losses.crosskd import align_scale
from ikd.distill.losses.weights import Reduction
from ikd.distill.recording import expect_one_loss, recorded
from ikd.distill.views.heads import ROWS, counted, locations
from ikd.distill.views.locations import Locations

Connector = Literal["auto", "always"]
Outputs = Sequence[Sequence[Tensor]]
"""What a dense head returns: maps a level of each kind."""


class CrossHeads:
    r"""CrossKD's losses between the heads of a student and a frozen teacher.

    The student's feature after `position` tower convolutions, before its activation, is brought to the teacher's width
    where that differs, gets the teacher's scale and goes on through the teacher's own activation and layers to the
    cross predictions :math:`\hat p, \hat b`. With z_T, b_T the teacher's predictions and n the number of positives of
    the student's assignment, for every kind of head:

    * classification: quality focal loss of :math:`\hat p` towards :math:`\sigma(z_T)`, sum / n, ignored anchors left
      out;
    * boxes, weighted by :math:`\max_c \sigma(z_T)`, ignored anchors left out: GIoU (FCOS: -log IoU) of the decoded
      :math:`\hat b, b_T`, sum / n; GFL: KL of the four distance distributions, sum over bins, mean over sides, over
      the sum of the weights, at least 1;
    * ATSS, DDOD, PAA, YOLOX: cross-entropy of centerness or objectness at positives, sum / n, weight 1.

    Only what the student has below the crossing gets gradients, and the connector: a 1x1 convolution with bias for each
    tower, shared over levels, trained beside the student and left out of what is exported. The towers run in the
    precision of the surrounding autocast, connector, scale and losses in float32. Both sums of weights are averaged
    over devices. A teacher's box without area does not count: no box overlaps it, so it adds a constant and no
    gradient. The authors' FCOS divides by the sum of the centerness targets, a smaller number, where we have n as in
    the other heads.

    Holds both detectors without being a module, so that neither enters the parameters of what holds it.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        position: number of tower convolutions that the student runs itself; 0 is the neck's output.
        w_cls: weight of the classification loss (1; FCOS 0.4).
        w_reg: weight of the box loss (1; GFL 4, FCOS 0.75).
        beta: focus of the classification loss, >= 0.
        connector: `auto` has one where the widths differ, as published; `always` everywhere.
        reduction: `published`, or `mean`: the classification over anchors and classes, the boxes over anchors. The GFL
            box loss and the centerness loss are means already.
        section: where a person has set these, for messages.

    Raises:
        BadInput: the heads do not fit; see `check_heads`.

    References:
        Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object Detection, CVPR 2024;
        `jbwang1997/CrossKD:mmdet/models/detectors/crosskd_*.py`.
    """

    name = "crosskd"

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        position: int,
        w_cls: float,
        w_reg: float,
        beta: float,
        connector: Connector,
        reduction: Reduction = "published",
        section: str = "distill.crosskd",
    ) -> None:
        self._row = check_heads(student, teacher, position=position, section=section)
        self._student: Any = student.bbox_head
        self._teacher: Any = teacher.bbox_head
        assert not any(parameter.requires_grad for parameter in teacher.parameters()), "freeze the teacher first"
        self.position = position
        self._settings: dict[str, float] = {"w_cls": w_cls, "w_reg": w_reg, "beta": beta}
        self.mean = reduction == "mean"
        self.connectors = self._connectors(connector)

    def _connectors(self, connector: Connector) -> nn.ModuleList | None:
        widths = [self._row.widths(head, self.position) for head in (self._student, self._teacher)]
        if connector == "auto" and widths[0] == widths[1]:
            return None
        return nn.ModuleList(nn.Conv2d(ours, theirs, 1) for ours, theirs in zip(*widths, strict=True))

    @contextlib.contextmanager
    def capture(self) -> Iterator[Seen]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice.

        Raises:
            RuntimeError: no loss was computed inside the block, or more than one.
        """
        method = ROWS[type(self._student).__name__].targets
        with tower_features(self._student, self._row, self.position) as seen:
            with recorded(self._student, method, seen.calls):
                yield seen
        levels = len(self._student.prior_generator.strides)
        expect_one_loss(bool(seen.calls) and len(seen.maps[0]) == levels)

    def losses(self, seen: Seen, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses by name.

        Args:
            seen: of a `capture`.
            teacher_features: outputs of the teacher's neck on the same images, [N, C, H, W] a level.

        Returns:
            `loss_crosskd_cls`, `loss_crosskd_reg`, and where qualities are compared `loss_crosskd_centerness` or
            `loss_crosskd_objectness`; float32 scalars.
        """
        taught, crossed = self._predictions(seen, teacher_features)
        with torch.autocast(teacher_features[0].device.type, enabled=False):
            theirs, ours = (self._read(outputs) for outputs in (taught, crossed))
            assigned = counted(self._student, seen, len(ours.logits), theirs)
            found = crosskd(ours, theirs, assigned, **self._settings, overlap=self._row.overlap, mean=self.mean)
        names = {"quality": self._row.quality}
        return {f"loss_crosskd_{names.get(part, part)}": value for part, value in found.items()}

    def _predictions(self, seen: Seen, teacher_features: Sequence[Tensor]) -> tuple[Outputs, Outputs]:
        """Return the teacher's own predictions, without gradient, and the cross predictions."""
        with torch.no_grad(), tower_features(self._teacher, self._row, self.position) as own:
            taught = self._teacher(tuple(feature.float() for feature in teacher_features))
        towers = [self._crossing(index, *maps) for index, maps in enumerate(zip(seen.maps, own.maps, strict=True))]
        crossing = list(zip(*towers, strict=True)) if self.position else towers[0]
        return taught, upper(self._teacher, self._row, self.position)(crossing)

    def _crossing(self, tower: int, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[Tensor]:
        """Return what enters the teacher's upper layers, level by level."""
        aligned = []
        with torch.autocast(student[0].device.type, enabled=False):
            for ours, theirs in zip(student, teacher, strict=True):
                connected = ours.float() if self.connectors is None else self.connectors[tower](ours.float())
                aligned.append(align_scale(connected, theirs.float()))
        if not self.position:
            return aligned
        activate = list(self._row.activations(self._teacher, self.position))[tower]
        by_level = activate if self._row.nested else activate * len(aligned)
        return [function(level) for function, level in zip(by_level, aligned, strict=True)]

    def _read(self, outputs: Outputs) -> Locations:
        """Return the view of the teacher's head, without a quality that is not compared."""
        found = locations(self._teacher, outputs)
        return found if self._row.quality else replace(found, quality=None)
