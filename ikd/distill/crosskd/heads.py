"""Cross-head knowledge distillation (Wang et al., CVPR 2024).

The student's head feature is sent through the upper layers of the teacher's head, and what comes out is compared with
the teacher's own prediction: `CrossHeads`, between two detectors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ikd.distill.crosskd.families import Assignment, Predictions, flat
from ikd.distill.crosskd.fit import check_heads
from ikd.distill.crosskd.towers import Seen, own_targets, tower_features, upper
from ikd.distill.losses.crosskd import align_scale, crosskd_classification
from ikd.distill.losses.weights import Reduction


class CrossHeads:
    r"""CrossKD's losses between the heads of a student and a frozen teacher.

    The student's feature after `position` tower convolutions, before its ReLU, gets the teacher's scale and goes on
    through the teacher's own layers to the cross predictions :math:`\hat p, \hat b`. With z_T, b_T the teacher's
    predictions and n the number of positives of the student's assignment:

    * classification: quality focal loss of :math:`\hat p` towards :math:`\sigma(z_T)`, sum / n, the head's own anchor
      weights;
    * boxes, weighted by :math:`\max_c \sigma(z_T)`, ignored anchors left out: GIoU (RetinaNet, ATSS) or -log IoU
      (FCOS) of the decoded :math:`\hat b, b_T`, sum / n; GFL: KL of the four distance distributions, sum over bins,
      mean over sides, over the sum of the weights, at least 1;
    * ATSS alone: cross-entropy of the centerness at positives, sum / n, weight 1.

    Only what the student has below the crossing gets gradients. The towers run in the precision of the surrounding
    autocast, scale and losses in float32. Both sums of weights are averaged over devices. A teacher's box without area
    does not count: no box overlaps it, so it adds a constant and no gradient. The authors' FCOS divides by the sum of
    the centerness targets, a smaller number, where we have n as in the other heads.

    Holds both detectors without being a module, so that neither enters the parameters of what holds it.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        position: number of tower convolutions that the student runs itself; 0 is the neck's output.
        w_cls: weight of the classification loss (1; FCOS 0.4).
        w_reg: weight of the box loss (1; GFL 4, FCOS 0.75).
        beta: focus of the classification loss, >= 0.
        reduction: `published`, or `mean`: the classification over anchors and classes, the boxes over anchors. The GFL
            box loss and the centerness loss are means already.

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
        reduction: Reduction = "published",
    ) -> None:
        self._family = check_heads(student, teacher, position=position)
        self._student: Any = student.bbox_head
        self._teacher: Any = teacher.bbox_head
        assert not any(parameter.requires_grad for parameter in teacher.parameters()), "freeze the teacher first"
        self.position, self.w_cls, self.w_reg, self.beta = position, w_cls, w_reg, beta
        self.mean = reduction == "mean"

    @contextlib.contextmanager
    def capture(self) -> Iterator[Seen]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice.

        Raises:
            RuntimeError: no loss was computed inside the block, or more than one.
        """
        with tower_features(self._student, self.position) as seen, own_targets(self._student, seen):
            yield seen
        levels = len(self._student.prior_generator.strides)
        if seen.targets is None or len(seen.classification) != levels:
            raise RuntimeError("a capture takes exactly one student.loss(...)")

    def losses(self, seen: Seen, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses by name.

        Args:
            seen: of a `capture`.
            teacher_features: outputs of the teacher's neck on the same images, [N, C, H, W] a level.

        Returns:
            `loss_crosskd_cls`, `loss_crosskd_reg`, and for ATSS `loss_crosskd_centerness`; float32 scalars.
        """
        taught, crossed = self._predictions(seen, teacher_features)
        with torch.autocast(taught.scores[0].device.type, enabled=False):
            assert seen.targets is not None
            assigned = self._family.assigned(self._student, seen.targets)
            confidence = [self._by_class(scores).amax(dim=2).sigmoid() for scores in taught.scores]  # [N, A, H, W]
            weights = flat(confidence, 1).squeeze(1) * (torch.cat(assigned.weights) != 0)
            divisor = len(weights) if self.mean else assigned.count
            boxes = self._family.box_loss(self._teacher, crossed.boxes, taught.boxes, weights, divisor)
            return {
                "loss_crosskd_cls": self.w_cls * self._classification_loss(crossed, taught, assigned),
                "loss_crosskd_reg": self.w_reg * boxes,
                **self._family.extra(crossed, taught, assigned),
            }

    def _predictions(self, seen: Seen, teacher_features: Sequence[Tensor]) -> tuple[Predictions, Predictions]:
        """Return the teacher's own predictions, without gradient, and the cross predictions."""
        with torch.no_grad(), tower_features(self._teacher, self.position) as own:
            taught = self._teacher(tuple(feature.float() for feature in teacher_features))
        towers = ((seen.classification, own.classification), (seen.regression, own.regression))
        crossing = [[self._cross(*maps) for maps in zip(ours, theirs, strict=True)] for ours, theirs in towers]
        crossed = upper(self._teacher, self.position)(list(zip(*crossing, strict=True)))
        return _float(taught), _float(crossed)

    def _cross(self, student: Tensor, teacher: Tensor) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            aligned = align_scale(student.float(), teacher.float())
        return aligned.relu() if self.position else aligned

    def _classification_loss(self, crossed: Predictions, taught: Predictions, assigned: Assignment) -> Tensor:
        parts = []
        for ours, theirs, weight in zip(crossed.scores, taught.scores, assigned.weights, strict=True):
            num_images, _, height, width = theirs.shape
            by_anchor = weight.view(num_images, height, width, -1).permute(0, 3, 1, 2).unsqueeze(2)  # [N, A, 1, H, W]
            logits = self._by_class(ours), self._by_class(theirs)
            parts.append(crosskd_classification(logits[0], logits[1], self.beta, by_anchor))
        elements = sum(scores.numel() for scores in taught.scores)
        return torch.stack(parts).sum() / (elements if self.mean else assigned.count)

    def _by_class(self, scores: Tensor) -> Tensor:
        """View [N, A K, H, W] as [N, A, K, H, W]."""
        num_images, _, height, width = scores.shape
        return scores.view(num_images, -1, self._teacher.num_classes, height, width)


def _float(outputs: Sequence[Sequence[Tensor]]) -> Predictions:
    return Predictions(*([level.float() for level in kind] for kind in outputs))
