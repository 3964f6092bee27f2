"""Class logits of student and teacher at the same places, and what the student's own assignment says of these."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.vkd import ClassReduction, over_classes, sigmoid_divergence, softmax_divergence
from ikd.distill.prototypes.relation import painted
from ikd.distill.recording import Call, expect_one_loss, outputs_of, recorded
from ikd.distill.response.pairing import dense_pair, has_two_stages, region_pair
from ikd.distill.views import place_logits
from ikd.distill.views.heads import counted, levels_of, locations, row_of, said_by


@dataclass
class SeenHead:
    """What one loss of the student left behind.

    Attributes:
        outputs: of a dense head what its forward returned, maps a level of each kind; of an RoI head logits [R, K + 1].
        calls: by which the head's own loss labels places.
        regions: of an RoI head, [R, 5]: index of the image and corners in input pixels.
        importance: per level of the teacher's dense head, [N, H, W]; what the map losses are told, where they ask.
        reliability: of each place, [N, M] or [R], in 0..1 as prototypes say; None where nobody asked them.
        instances: boxes of each image, [n, 4] in input pixels, which map losses take for its objects; None leaves them.
        labelled: boxes of the images are the truth, not the teacher's.
    """

    outputs: list[Any] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    regions: Tensor | None = None
    importance: list[Tensor] = field(default_factory=list)
    reliability: Tensor | None = None
    instances: list[Tensor] | None = None
    labelled: bool = True


@dataclass(frozen=True)
class Divergences:
    """How far the student's scores are from the teacher's, place by place.

    Attributes:
        values: [N, M] of dense heads, [R] of regions: T^2 KL over the classes.
        counted: of the same shape, whether the student's own loss counts the place.
        positive: likewise, whether it has an object there.
        divisor: of a sum over places: positives of a dense head, averaged over devices, at least 1; regions otherwise.
    """

    values: Tensor
    counted: Tensor
    positive: Tensor
    divisor: Tensor


class Places(Protocol):
    """Where two detectors score the same classes."""

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]: ...  # noqa: D102

    def divergences(  # noqa: D102
        self, seen: SeenHead, features: Sequence[Tensor], temperature: float, class_reduction: ClassReduction
    ) -> Divergences: ...

    def weights(self, seen: SeenHead, instances: Targets, reliability: Tensor) -> Tensor: ...  # noqa: D102


def places_of(method: str, student: nn.Module, teacher: nn.Module) -> Places:
    """Return where two detectors are compared: anchors or points of one stage, the student's regions of two.

    Raises:
        BadInput: the two cannot be; see `ikd.distill.response.pairing`.
    """
    if has_two_stages(student) and has_two_stages(teacher):
        return Regions(*region_pair(method, student, teacher))
    return Cells(*dense_pair(method, student, teacher))


class Cells:
    """Anchors or points of two dense heads of one kind, all of which the student's own loss labels.

    Args:
        student: head.
        teacher: head, frozen.
    """

    def __init__(self, student: Any, teacher: Any) -> None:
        self._student, self._teacher = student, teacher

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice; see `dense_capture`."""
        return dense_capture(self._student)

    def divergences(
        self, seen: SeenHead, features: Sequence[Tensor], temperature: float, class_reduction: ClassReduction
    ) -> Divergences:
        """Compare sigmoids class by class; see `Divergences`."""
        with torch.autocast(features[0].device.type, enabled=False):
            ours, theirs = locations(self._student, seen.outputs[0]), said_by(self._teacher, features)
            apart = sigmoid_divergence(place_logits(ours), place_logits(theirs), temperature)
            values = over_classes(apart, 2, class_reduction)
            assigned = counted(self._student, seen, len(values), theirs)
            return Divergences(values, assigned.weight != 0, assigned.positive, assigned.count)

    def weights(self, seen: SeenHead, instances: Targets, reliability: Tensor) -> Tensor:
        """Return how much each place counts, [N, M]: as its cell, by the most reliable box over it; 1 without one.

        Args:
            seen: of a `capture`.
            instances: boxes of the truth.
            reliability: of each of them, [n] in 0..1.
        """
        found = []
        for level in levels_of(self._student, seen.outputs[0][0]):
            size = (level.height, level.width)
            covered = painted(torch.ones_like(reliability), instances, size) > 0
            cells = torch.where(covered, painted(reliability, instances, size), 1.0)  # [N, H, W]
            found.append(cells[..., None].expand(*cells.shape, level.anchors).flatten(1))
        return torch.cat(found, dim=1)


class Regions:
    """The student's proposals, as its RoI head samples them, scored by both RoI heads on the features of their own.

    Args:
        student: RoI head.
        teacher: RoI head, frozen.
    """

    def __init__(self, student: Any, teacher: Any) -> None:
        self._student, self._teacher = student, teacher

    @contextlib.contextmanager
    def capture(self) -> Iterator[SeenHead]:
        """Collect one `student.loss(...)`.

        Raises:
            RuntimeError: no loss was computed inside the block, or more than one.
        """
        seen = SeenHead()

        def keep_regions(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if not seen.outputs:  # where masks share the extractor they come after
                seen.regions = inputs[1].detach()

        def keep_logits(module: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
            seen.outputs.append(outputs[0])

        hooks = [
            self._student.bbox_roi_extractor.register_forward_pre_hook(keep_regions),
            self._student.bbox_head.register_forward_hook(keep_logits),
        ]
        try:
            with recorded(self._student.bbox_head, "get_targets", seen.calls):
                yield seen
        finally:
            for hook in hooks:
                hook.remove()
        expect_one_loss(len(seen.calls) == 1 and len(seen.outputs) == 1)

    def divergences(
        self, seen: SeenHead, features: Sequence[Tensor], temperature: float, class_reduction: ClassReduction
    ) -> Divergences:
        """Compare softmaxes over the classes and the background; see `Divergences`."""
        assert seen.regions is not None
        with torch.no_grad():
            given = tuple(feature.float() for feature in features)
            taught = self._teacher._bbox_forward(given, seen.regions)["cls_score"].float()
        ours = seen.outputs[0].float()
        labels, weights = seen.calls[0].result[:2]
        with torch.autocast(ours.device.type, enabled=False):
            values = over_classes(softmax_divergence(ours, taught, temperature), 1, class_reduction)
        counted = weights != 0
        return Divergences(values, counted, self._positive(labels) & counted, counted.sum().clamp(min=1))

    def _positive(self, labels: Tensor) -> Tensor:
        return (labels >= 0) & (labels < self._student.bbox_head.num_classes)

    def weights(self, seen: SeenHead, instances: Targets, reliability: Tensor) -> Tensor:
        """Return how much each region counts, [R]: one with an object by its reliability, background 1.

        Args:
            seen: of a `capture`.
            instances: the regions with an object, as the student's own sampler has them, image by image.
            reliability: of each of them, [n] in 0..1.
        """
        positive = self._positive(seen.calls[0].result[0])
        return reliability.new_ones(len(positive)).masked_scatter(positive, reliability)


@contextlib.contextmanager
def dense_capture(head: Any) -> Iterator[SeenHead]:
    """Collect what a dense head says in one `student.loss(...)`, and by which calls that loss labels its places.

    Raises:
        RuntimeError: no loss was computed inside the block, or more than one.
    """
    seen = SeenHead()
    with outputs_of(head, seen.outputs), recorded(head, row_of(head).targets, seen.calls):
        yield seen
    expect_one_loss(len(seen.outputs) == 1 and bool(seen.calls))
