"""Where two dense heads disagree most, and how their predictions compare there (GID)."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.recording import kept
from ikd.distill.response.pairing import dense_pair
from ikd.distill.response.places import SeenHead, dense_capture
from ikd.distill.views.heads import assignment, flat, strides_of

BEFORE = 3000
"""Places of an image among which instances are chosen, those of the highest scores."""
LEAST_SIDE_PX = 1.0
"""Instances have sides longer than this, within the image."""


class InstanceHeads:
    r"""GID between heads: which instances, for the losses of maps, and the loss of the predictions there.

    An instance is a place whose highest difference of scores over the classes,
    :math:`\max_c |\sigma(z_T) - \sigma(z_S)|`, is among the K of an image, and overlaps no higher one by more than
    `overlap`; its box is that of the head with the higher score.

    .. math:: L = \frac{\lambda_3}{|M|} \sum_M \Big[ a \sum_c \mathrm{BCE}(\sigma(z_S), \sigma(z_T)) +
        b \sum h(r_S, r_T) \Big]

    with M the places that the student's own assignment gives to the instances as if they were objects, r what the heads
    say of a box there (an anchor's offsets, or distances in strides; of a distribution its mean), and h the smooth L1
    distance. Dense heads are compared; of two stages, those of the RPNs. RECONSTRUCTION: see `GID`.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        count: K; 0 chooses none.
        overlap: largest IoU of two instances of an image.
        w_response: lambda3.
        cls_share: a.
        box_share: b.

    Raises:
        BadInput: the two heads do not score the same places.

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
        self.count, self.overlap, self.w_response = count, overlap, w_response
        self.cls_share, self.box_share = cls_share, box_share

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice; see `dense_capture`."""
        return dense_capture(self._student)

    def losses(self, seen: SeenHead, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_gid_response`, weighted, a float32 scalar, and leave the instances in `seen`."""
        features = tuple(one.float() for one in teacher_features[: len(seen.logits)])
        with torch.no_grad():
            theirs = Said.by(self._teacher, *self._teacher(features)[:2])
        with torch.autocast(features[0].device.type, enabled=False):
            ours = Said.by(self._student, seen.logits, seen.boxes)
            seen.instances = self._instances(ours, theirs)
            return {"loss_gid_response": self.w_response * self._response(ours, theirs, seen, seen.instances)}

    @torch.no_grad()
    def _instances(self, ours: Said, theirs: Said) -> list[Tensor]:
        """Return the boxes of the instances, [n, 4] in input pixels for each image."""
        difference = theirs.logits.sigmoid() - ours.logits.sigmoid()
        scores, label = difference.abs().max(dim=2)
        surer = difference.gather(2, label[..., None]) > 0
        boxes = torch.where(surer, theirs.decoded(), ours.decoded())
        return disputed(scores, _within(boxes, ours), self.count, self.overlap)

    def _response(self, ours: Said, theirs: Said, seen: SeenHead, instances: Sequence[Tensor]) -> Tensor:
        if not any(len(one) for one in instances):
            return ours.logits.sum() * 0
        targets = reassigned(self._student, seen, instances)
        at = assignment(self._student, [targets], len(ours.logits)).positive
        wanted = theirs.logits[at].sigmoid()
        scores = F.binary_cross_entropy_with_logits(ours.logits[at], wanted, reduction="sum")
        boxes = F.smooth_l1_loss(ours.regressed[at], theirs.regressed[at], reduction="sum")
        return (self.cls_share * scores + self.box_share * boxes) / max(len(wanted), 1)


@dataclass(frozen=True)
class Said:
    """What a dense head says of all places, in the units that it speaks in.

    Attributes:
        head: who says it.
        logits: [N, M, K].
        regressed: [N, M, 4], offsets from an anchor, or distances in strides.
        priors: [M, 4] anchors, or [M, 2] points, in input pixels.
        strides: [M, 1], in input pixels.
        finest: height and width of what the finest map covers, in input pixels.
    """

    head: Any
    logits: Tensor
    regressed: Tensor
    priors: Tensor
    strides: Tensor
    finest: tuple[float, float]

    @classmethod
    def by(cls, head: Any, logits: Sequence[Tensor], boxes: Sequence[Tensor]) -> Said:
        """Read the outputs of a head, maps [N, A K, H, W] and [N, A d, H, W] a level."""
        priors = head.prior_generator.grid_priors([one.shape[2:] for one in logits], device=logits[0].device)
        steps = strides_of(head)
        strides = torch.cat([one.new_full((len(one), 1), step) for one, step in zip(priors, steps, strict=True)])
        said = flat(boxes, boxes[0].shape[1] // _anchors(head, logits[0]))
        return cls(
            head,
            flat(logits, head.num_classes),
            _regressed(head, said, strides),
            torch.cat(priors),
            strides,
            (logits[0].shape[2] * steps[0], logits[0].shape[3] * steps[0]),
        )

    def decoded(self) -> Tensor:
        """Return the boxes, [N, M, 4] in input pixels."""
        coded, places = self.regressed, self.priors
        if _by_distance(self.head):
            coded = coded * self.strides
            places = places if places.shape[1] == 2 else (places[:, :2] + places[:, 2:]) / 2
        found: Tensor = self.head.bbox_coder.decode(places.repeat(len(coded), 1), coded.flatten(0, 1))
        return found.view_as(coded)


def _anchors(head: Any, logits: Tensor) -> int:
    return int(logits.shape[1] // head.num_classes)


def _by_distance(head: Any) -> bool:
    return type(head).__name__ in ("FCOSHead", "GFLHead")


def _regressed(head: Any, said: Tensor, strides: Tensor) -> Tensor:
    """Return what a head says of boxes, [N, M, 4], in the units that `Said` has."""
    name = type(head).__name__
    if name == "GFLHead":
        distances: Tensor = head.integral(said.flatten(0, 1))
        return distances.view(*said.shape[:2], 4)
    if name == "FCOSHead" and (not head.norm_on_bbox or not head.training):  # pixels by now
        return said / strides
    return said


def reassigned(head: Any, seen: SeenHead, boxes: Sequence[Tensor]) -> tuple[Any, ...]:
    """Return what a head's `get_targets` would have returned for other boxes, of class 0."""
    from mmengine.structures import InstanceData

    assert seen.asked is not None
    asked = [kept(one) for one in seen.asked[0]], {name: kept(one) for name, one in seen.asked[1].items()}
    given = inspect.signature(head.get_targets).bind(*asked[0], **asked[1])
    objects = [InstanceData(bboxes=one, labels=one.new_zeros(len(one), dtype=torch.long)) for one in boxes]
    given.arguments["batch_gt_instances"] = objects
    if "batch_gt_instances_ignore" in given.arguments:
        given.arguments["batch_gt_instances_ignore"] = None
    return tuple(head.get_targets(*given.args, **given.kwargs))


def _within(boxes: Tensor, ours: Said) -> Tensor:
    """Cut boxes [N, P, 4] off where the finest map ends."""
    height, width = ours.finest
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
        [n, 4] for each image, highest first.
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
        found.append(chosen)
        there.append(highest > 0)
    if not found:
        return [boxes[0, :0]] * len(boxes)
    every, kept = torch.cat(found, dim=1), torch.cat(there, dim=1)
    return [one[keep] for one, keep in zip(every, kept, strict=True)]
