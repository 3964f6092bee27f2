"""Global Knowledge in a training step: which instances there are, what prototypes say of them, and who is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ikd.distill.functional import Targets
from ikd.distill.prototypes.relation import Relations
from ikd.distill.prototypes.term import PrototypeTerm
from ikd.distill.recording import Call, recorded
from ikd.distill.response import ScoreHeads
from ikd.distill.response.places import SeenHead

Maps = tuple[Sequence[Tensor], Sequence[Tensor]]


@dataclass
class SeenInstances:
    """What one loss of the student left behind.

    Attributes:
        sampled: of a student of two stages, the calls of its sampler, one an image; else empty.
        scores: for the response loss; None without it.
    """

    sampled: list[Call] = field(default_factory=list)
    scores: SeenHead | None = None


@dataclass(frozen=True)
class Known:
    """What prototypes say of a batch.

    Attributes:
        instances: boxes that are compared: those of the truth, or the regions with an object that a student of two
            stages samples.
        relations: of the instances, level by level.
        reliability: of each instance, the mean over levels, [n].
    """

    instances: Targets
    relations: Sequence[Relations]
    reliability: Tensor


class Knowledge:
    """Prototypes, the response loss that they weigh, and the host that they act within.

    Holds the term and both heads without being a module, so that none enters the parameters a second time.

    Args:
        student: mmdet detector.
        term: what holds the prototypes.
        response: loss of the class scores; None where its weight is 0.
        couples: the host is told what prototypes say.
    """

    def __init__(self, student: Any, term: PrototypeTerm, response: ScoreHeads | None, *, couples: bool) -> None:
        self._sampler = first_sampler(student)
        self._term, self._response, self.couples = term, response, couples

    @contextlib.contextmanager
    def capture(self) -> Iterator[SeenInstances]:
        """Collect one `student.loss(...)`."""
        seen = SeenInstances()
        with contextlib.ExitStack() as stack:
            if self._sampler is not None:
                stack.enter_context(recorded(self._sampler, "sample", seen.sampled))
            if self._response is not None:
                seen.scores = stack.enter_context(self._response.capture())
            yield seen

    def learn(self, seen: SeenInstances, maps: Maps, targets: Targets) -> Known:
        """Compare a batch with the prototypes.

        Args:
            seen: of a `capture`.
            maps: of the levels that are distilled.
            targets: boxes of the truth.
        """
        sampled = [call.result for call in seen.sampled]
        instances = sampled_targets(sampled, targets) if self._sampler is not None else targets
        relations = self._term.compare(*maps, instances)
        return Known(instances, relations, self._term.reliability(relations))

    def losses(self, known: Known, seen: SeenInstances, maps: Maps, outputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses by name, `loss_prototypes_...`, each where its weight is above 0.

        Args:
            known: of this batch.
            seen: of its `capture`.
            maps: of the levels that are distilled.
            outputs: of the teacher's neck, [N, C, H, W] a level.
        """
        named = self._term.losses(known.relations, *maps, known.instances).items()
        losses = {f"loss_{name}": loss for name, loss in named}
        if self._response is not None and seen.scores is not None:
            self._response.weigh(seen.scores, known.instances, known.reliability)
            losses |= self._response.losses(seen.scores, outputs)
        return losses

    def told(self, known: Known, maps: Maps, targets: Targets) -> list[Targets]:
        """Return what a host between maps is told of each level: how reliable boxes are there, and the prototypes.

        Args:
            known: of this batch; what it knows of the same boxes is not compared again.
            maps: of the levels that are distilled.
            targets: boxes of the truth.
        """
        counts = [len(boxes) for boxes in targets.boxes]
        same = known.instances.boxes is targets.boxes
        found = []
        for level, relation in enumerate(known.relations if same else self._term.compare(*maps, targets)):
            held = self._term.held(level)
            reliability = torch.split(relation.reliability, counts)
            found.append(replace(targets, reliability=reliability, partners=(held.student, held.teacher)))
        return found


def first_sampler(student: Any) -> Any:
    """Return what samples the regions that a detector of two stages first classifies in training; None of one stage."""
    sampler = getattr(getattr(student, "roi_head", None), "bbox_sampler", None)
    return sampler[0] if isinstance(sampler, list) else sampler


def sampled_targets(sampled: Sequence[Any], targets: Targets) -> Targets:
    """Return sampled regions with an object as the boxes of a batch; those of the truth where none were sampled.

    Args:
        sampled: of mmdet's `SamplingResult`, one an image.
        targets: of the truth.
    """
    if len(sampled) != len(targets.boxes):
        return targets
    boxes = [one.pos_priors.detach().float() for one in sampled]
    return replace(targets, boxes=boxes, labels=[_classes(one.pos_gt_labels) for one in sampled])


def _classes(labels: Tensor) -> Tensor:
    """Return the classes of regions; CrowdDet's labels, [n, objects a region], are 1 for an object of its one class."""
    return labels if labels.ndim == 1 else labels.new_zeros(len(labels))
