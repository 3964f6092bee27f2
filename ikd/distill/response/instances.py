"""Where two dense heads disagree most, and how their predictions compare there (GID)."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.recording import Call, kept
from ikd.distill.response.pairing import dense_pair
from ikd.distill.response.places import SeenHead, dense_capture
from ikd.distill.views import Locations, place_logits
from ikd.distill.views.heads import assignment, locations, outputs_for, regressed, row_of
from ikd.errors import refuse

if TYPE_CHECKING:
    from mmengine.structures import InstanceData

BEFORE = 3000
"""Places of an image among which instances are chosen, those of the highest scores."""
LEAST_SIDE_PX = 1.0
"""Instances have sides longer than this, within the image."""
_BATCH, _ONE = "batch_gt_instances", "gt_instances"
"""What mmdet calls the objects of a batch, and those of an image, where it labels places."""


class InstanceHeads:
    r"""GID between heads: which instances, for the losses of maps, and the loss of the predictions there.

    An instance is a place whose highest difference of scores over the classes,
    :math:`\max_c |\sigma(z_T) - \sigma(z_S)|`, is among the K of an image, and overlaps no higher one by more than
    `overlap`; its box is that of the head with the higher score.

    .. math:: L = \frac{\lambda_3}{|M|} \sum_M \Big[ a \sum_c \mathrm{BCE}(\sigma(z_S), \sigma(z_T)) +
        b \sum h(r_S, r_T) \Big]

    with M the places that the student's own assignment gives to the instances as if they were objects of their classes,
    r what the heads say of a box there (an anchor's offsets, or distances in strides; of a distribution its mean), and
    h the smooth L1 distance. Dense heads are compared; of two stages, those of the RPNs. RECONSTRUCTION: see `GID`.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        count: K; 0 chooses none.
        overlap: largest IoU of two instances of an image.
        w_response: lambda3.
        cls_share: a.
        box_share: b.

    Raises:
        BadInput: the two heads do not score the same places, or the student's labels none for any boxes (PAA's).

    References:
        Dai et al., CVPR 2021.
    """

    name = "gid"

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        count: int,
        overlap: float,
        w_response: float,
        cls_share: float,
        box_share: float,
    ) -> None:
        self._student, self._teacher = dense_pair("distill.host gid", student, teacher)
        _check_reassigns(self._student)
        self.count, self.overlap, self.w_response = count, overlap, w_response
        self.cls_share, self.box_share = cls_share, box_share

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice; see `dense_capture`."""
        return dense_capture(self._student)

    def losses(self, seen: SeenHead, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_gid_response`, weighted, a float32 scalar, and leave the instances in `seen`."""
        with torch.autocast(teacher_features[0].device.type, enabled=False):
            ours = _Said(self._student, seen.outputs[0])
            theirs = _Said(self._teacher, outputs_for(self._teacher, teacher_features))
            objects = self._instances(ours, theirs)
            seen.instances = [one.bboxes for one in objects]
            return {"loss_gid_response": self.w_response * self._response(ours, theirs, seen, objects)}

    @torch.no_grad()
    def _instances(self, ours: _Said, theirs: _Said) -> list[InstanceData]:
        """Return the instances of each image, boxes in input pixels with their classes."""
        from mmengine.structures import InstanceData

        difference = theirs.logits.sigmoid() - ours.logits.sigmoid()
        scores, labels = difference.abs().max(dim=2)
        surer = difference.gather(2, labels[..., None]) > 0
        boxes = _within(torch.where(surer, theirs.view.boxes, ours.view.boxes), ours.view)
        chosen = disputed(scores, boxes, self.count, self.overlap)
        return [InstanceData(bboxes=boxes[image, at], labels=labels[image, at]) for image, at in enumerate(chosen)]

    def _response(self, ours: _Said, theirs: _Said, seen: SeenHead, objects: Sequence[InstanceData]) -> Tensor:
        if not any(len(one) for one in objects):
            return ours.logits.sum() * 0
        calls = reassigned(self._student, seen.calls, objects)
        at = assignment(self._student, calls, len(ours.logits)).positive
        wanted = theirs.logits[at].sigmoid()
        scores = F.binary_cross_entropy_with_logits(ours.logits[at], wanted, reduction="sum")
        boxes = F.smooth_l1_loss(ours.regressed[at], theirs.regressed[at], reduction="sum")
        return (self.cls_share * scores + self.box_share * boxes) / max(len(wanted), 1)


class _Said:
    """What a dense head says of all places: its view, the logits compared, [N, M, K], and boxes as it says them."""

    def __init__(self, head: Any, outputs: Any) -> None:
        self.view = locations(head, outputs)
        self.logits = place_logits(self.view)
        self.regressed = regressed(head, outputs, self.view)


def reassigned(head: Any, calls: Sequence[Call], objects: Sequence[InstanceData]) -> list[Call]:
    """Return the calls by which a head would have labelled its places for other objects.

    Args:
        head: of the student.
        calls: by which its loss labelled them, of all images or an image each.
        objects: with `bboxes` and `labels`, of each image.
    """
    method = getattr(head, row_of(head).targets)
    parameters = inspect.signature(method).parameters
    found = []
    for number, call in enumerate(calls):
        given = inspect.signature(method).bind(*map(kept, call.args), **{n: kept(v) for n, v in call.kwargs.items()})
        given.arguments |= {_BATCH: list(objects)} if _BATCH in parameters else {_ONE: objects[number]}
        for ignored in given.arguments.keys() & {f"{_BATCH}_ignore", f"{_ONE}_ignore"}:
            of_batch = isinstance(given.arguments[ignored], list)
            given.arguments[ignored] = [None] * len(objects) if of_batch else None
        found.append(Call(given.args, given.kwargs, method(*given.args, **given.kwargs)))
    return found


def _check_reassigns(head: Any) -> None:
    """Check that a head can label its places for any objects.

    Raises:
        BadInput: it labels them by the losses of those of the truth.
    """
    parameters = inspect.signature(getattr(head, row_of(head).targets)).parameters
    if not parameters.keys() & {_BATCH, _ONE}:
        rule = "must be between heads that label places for any boxes (the student)"
        refuse("distill.host gid", rule, f"{type(head).__name__}, which labels them again by the losses of the truth")


def _within(boxes: Tensor, view: Locations) -> Tensor:
    """Cut boxes [N, P, 4] off where the finest map ends."""
    finest = view.levels[0]
    height, width = finest.height * finest.stride, finest.width * finest.stride
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def disputed(scores: Tensor, boxes: Tensor, count: int, overlap: float) -> list[Tensor]:
    """Choose in each image the boxes of the highest scores, each of which overlaps no higher one too much.

    All images at once, a step for each of the `count`.

    Args:
        scores: [N, P]; only those above 0 are chosen.
        boxes: [N, P, 4] corners.
        count: of an image, at most.
        overlap: largest IoU with a box of a higher score.

    Returns:
        indices [n] of each image, highest first.
    """
    left, order = scores.topk(min(BEFORE, scores.shape[1]), dim=1)
    boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
    sides = boxes[..., 2:] - boxes[..., :2]
    areas = sides.prod(dim=2)
    left = left * (sides > LEAST_SIDE_PX).all(dim=2)
    found, there = [], []
    for _ in range(count):
        highest, best = left.max(dim=1, keepdim=True)
        chosen = boxes.gather(1, best[..., None].expand(-1, -1, 4))  # [N, 1, 4]
        corners = torch.maximum(boxes[..., :2], chosen[..., :2]), torch.minimum(boxes[..., 2:], chosen[..., 2:])
        common = (corners[1] - corners[0]).clamp(min=0).prod(dim=2)
        shared = common / (areas + areas.gather(1, best) - common).clamp(min=1e-9)
        left = left.masked_fill(shared > overlap, 0).scatter(1, best, 0)
        found.append(order.gather(1, best))
        there.append(highest > 0)
    if not found:
        return [order[0, :0]] * len(order)
    every, kept = torch.cat(found, dim=1), torch.cat(there, dim=1)
    return [one[keep] for one, keep in zip(every, kept, strict=True)]
