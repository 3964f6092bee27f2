"""What one teacher teaches in a step: the terms between it and the student, and the modules that these need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ikd.distill.canvas import Canvas, sizes_of, untouched_statistics
from ikd.distill.confidence import Before, altered_rows, pooled, with_confidence
from ikd.distill.crosskd import CrossHeads, CrossRegions
from ikd.distill.functional import Targets, standardise
from ikd.distill.knowledge import Knowledge, Known, SeenInstances
from ikd.distill.labels import NAME, times
from ikd.distill.reader import Reader, Side, targets_of
from ikd.distill.response import ScoreHeads, SeenLosses
from ikd.distill.summing import effective_weights, summed
from ikd.distill.terms import Batch, Maps, Taught


@dataclass
class Seen:
    """What one loss of the student left behind for a lesson.

    Attributes:
        maps: the student's, where it is read.
        heads: for what the host compares of predictions.
        beside: for what stands beside it, one by one.
        predicted: for response terms between dense heads.
        asked: for those between DETRs.
        instances: for prototypes.
    """

    maps: Sequence[Tensor] = ()
    heads: Any = None
    beside: Sequence[Any] = ()
    predicted: Any = None
    asked: Any = None
    instances: SeenInstances | None = None


class Lesson(nn.Module):
    """The terms between a student and one teacher, with adapters, generators, connectors and prototypes of their own.

    Its modules are its children alone: both detectors are read without being submodules.

    Args:
        student: mmdet detector.
        taught: the teacher and the terms.
        beside: other teachers, whose batch is one with this one's.

    Attributes:
        terms: what is distilled.
        reader: of both detectors.
        effective_weights: of losses that have one, as they were in the last step.
        host_share: of the host's weights, 0..1, while it rises to them; a hook sets it.
    """

    canvas: Canvas

    def __init__(self, student: nn.Module, taught: Taught, beside: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        terms = self.terms = taught.terms
        self.name, self.weight = taught.name, taught.weight
        self.canvas = Canvas(student, taught.teacher, beside)
        self.host = nn.ModuleList(terms.host[1]) if terms.host else None
        self.alignment = nn.ModuleList(terms.alignment.values()) if terms.alignment else None
        self.adversarial = nn.ModuleList(terms.adversarial) if terms.adversarial is not None else None
        crossing = [one for one in (terms.heads, *terms.beside) if isinstance(one, (CrossHeads, CrossRegions))]
        self.connectors = crossing[0].connectors if crossing else None  # the host or beside it, never both
        self.decoder = terms.decoder
        self.prototypes = terms.prototypes
        self.knowledge = (
            Knowledge(student, terms.prototypes, terms.response, couples=terms.coupled) if terms.prototypes else None
        )
        self.reader = Reader(student, taught.teacher, terms, self.canvas)
        self.effective_weights: dict[str, float] = {}
        self.host_share = 1.0

    @property
    def teacher(self) -> Any:
        """The frozen detector, or None."""
        return self.reader.teacher

    @property
    def names(self) -> list[str]:
        """Names of its terms, as losses are told apart."""
        return [NAME if name == NAME else self.called(name) for name in self.terms.names]

    def called(self, name: str) -> str:
        """Return the name of one of its losses, terms or weights among those of all teachers."""
        return f"{self.name}.{name}" if self.name else name

    def term_of(self, name: str) -> str | None:
        """Return the term that a loss `loss_...` belongs to, None where it is another teacher's.

        All that heads are compared by is the host, its decoder too.
        """
        start = f"loss_{self.called('')}"
        if not name.startswith(start):
            return None
        rest, terms = name.removeprefix(start), self.terms
        host = terms.host[0] if terms.host else terms.heads.name if terms.heads else None
        known = [*terms.between_heads, *([host] if host else [])]
        return self.called(next((one for one in known if rest.startswith(f"{one}_")), rest))

    def shared_out(self, losses: Mapping[str, Any]) -> dict[str, Any]:
        """Return losses of this teacher with its weight, under names that tell them from those of others."""
        if not self.name:
            return dict(losses)
        named = {f"loss_{self.called(name.removeprefix('loss_'))}": loss for name, loss in losses.items()}
        return {name: times(loss, self.weight) for name, loss in named.items()}

    @contextmanager
    def capture(self, *, labelled: bool = True) -> Iterator[Seen]:
        """Collect one `student.loss(...)`, of images with labels or with the teacher's boxes."""
        terms, seen, taps = self.terms, Seen(), self.reader.student_taps
        with ExitStack() as stack:
            if taps is not None and self.reader.reads_maps:
                seen.maps = stack.enter_context(taps.capture())
            seen.heads = stack.enter_context(terms.heads.capture()) if terms.heads else None
            seen.beside = [stack.enter_context(one.capture()) for one in terms.beside]
            seen.predicted = stack.enter_context(terms.predictions.capture()) if terms.predictions else None
            seen.asked = stack.enter_context(terms.queries.capture()) if terms.queries else None
            seen.instances = stack.enter_context(self.knowledge.capture()) if self.knowledge else None
            scores = seen.instances.scores if seen.instances else None
            for one in (seen.heads, *seen.beside, seen.predicted, scores):
                if one is not None:
                    one.labelled = labelled
            yield seen

    def losses(
        self, seen: Seen, clean: Batch, taught: Maps, before: Before | None, position: tuple[int, int]
    ) -> dict[str, Any]:
        """Return the losses of the terms on clean images.

        Args:
            seen: of a `capture`.
            clean: batch of the canvas.
            taught: the teacher's maps and its neck's outputs; see `Reader.features`.
            before: what the teacher made of the images before they were altered; None where nobody asks.
            position: epoch and step of the training.
        """
        theirs, outputs = taught if self.reader.reads_maps else ([], taught[1])
        losses: dict[str, Any] = {}
        maps = self.reader.shared(seen.maps, theirs) if theirs else ([], [])
        targets = targets_of(clean)
        confidence = before.of_altered(theirs) if before is not None else []
        known = None
        if self.knowledge is not None and seen.instances is not None:
            counts = confidence if "prototypes" in self.terms.confident else []
            counted = replace(targets, confidence=torch.stack(counts).mean(dim=0)) if counts else targets
            known = self._learn(self.knowledge, seen.instances, maps, counted, seen.heads)
            losses |= self.knowledge.losses(known, seen.instances, maps, outputs)
        losses |= self._between_heads(seen, clean, outputs, targets, position)
        if theirs:
            told = self._told(maps, targets, seen.heads, known)
            told = with_confidence(told, confidence) if confidence else told
            losses |= self._map_losses(maps, targets, told)
        return losses

    def _between_heads(
        self, seen: Seen, clean: Batch, outputs: Sequence[Tensor], targets: Targets, position: tuple[int, int]
    ) -> dict[str, Any]:
        """Return the losses between what the two predict."""
        terms, losses = self.terms, dict[str, Any]()
        if terms.heads is not None and seen.heads is not None:
            found = terms.heads.losses(seen.heads, outputs)
            losses |= {name: self.host_share * value for name, value in found.items()}
        for one, its in zip(terms.beside, seen.beside, strict=True):
            losses |= one.losses(its, outputs)
        if terms.predictions is not None and seen.predicted is not None:
            losses |= terms.predictions.losses(seen.predicted, outputs, targets.boxes)
        if terms.queries is not None and seen.asked is not None:
            losses |= terms.queries.losses(seen.asked, outputs, clean["data_samples"], position)
        return losses

    def _learn(self, knowledge: Knowledge, instances: SeenInstances, maps: Maps, targets: Targets, seen: Any) -> Known:
        """Compare a batch with the prototypes, and tell the host's heads how reliable instances are, if it asks."""
        known, heads = knowledge.learn(instances, maps, targets), self.terms.heads
        if knowledge.couples and isinstance(heads, ScoreHeads):
            heads.weigh(seen, known.instances, known.reliability)
        return known

    def _told(self, maps: Maps, targets: Targets, seen: SeenLosses | None, known: Known | None) -> list[Targets]:
        """Return what the host is told of each level: what prototypes and heads say, and the instances they choose."""
        if seen is not None and seen.instances is not None:
            labels = [boxes.new_zeros(len(boxes), dtype=torch.long) for boxes in seen.instances]
            targets = replace(targets, boxes=list(seen.instances), labels=labels)
        told = [targets] * len(maps[0])
        if self.knowledge is not None and known is not None and self.knowledge.couples and self.host is not None:
            told = self.knowledge.told(known, maps, targets)
        if seen is None or not seen.importance:
            return told
        cells = [seen.importance[level] for level in self.reader.outputs("teacher")]
        return [replace(one, importance=importance) for one, importance in zip(told, cells, strict=True)]

    def _map_losses(self, maps: Maps, targets: Targets, told: Sequence[Targets]) -> dict[str, Tensor]:
        """Return the losses between maps.

        Args:
            maps: of the levels that are distilled.
            targets: boxes of the truth.
            told: what the host is told of the images on each of them, and how much each image counts there.
        """
        losses: dict[str, Tensor] = {}
        if self.host is not None and self.terms.host is not None:
            name = self.terms.host[0]
            if self.decoder is not None:
                learnt, attended = self.decoder(maps[1], targets)
                losses |= {f"loss_{part}": loss for part, loss in learnt.items()}
                told = [replace(one, attended=where) for one, where in zip(told, attended, strict=True)]
            known = told if "host" in self.terms.confident else [replace(one, confidence=None) for one in told]
            losses[f"loss_{name}"] = self.host_share * self._term(name, self.host, self._standardised(maps), known)
        if self.alignment is not None:
            chosen = [[side[level] for level in self.terms.alignment] for side in maps]
            counts = [one.confidence if "sfa" in self.terms.confident else None for one in told]
            levels = [replace(targets, confidence=counts[level]) for level in self.terms.alignment]
            losses["loss_sfa"] = self._term("sfa", self.alignment, (chosen[0], chosen[1]), levels)
        return losses

    def before(self, data: Batch, seen: Maps) -> Before | None:
        """Look through the teacher at the images as they were before they were altered; None where nobody asks."""
        if not self.terms.confident:
            return None
        taps, outputs = self._pooled(seen)
        if rows := altered_rows(data):
            batch, sizes = self.canvas({"inputs": data["reference"]})["inputs"], sizes_of(data["reference"])
            were = self.reader.features(batch[rows], [sizes[row] for row in rows])
            for ours, others in zip((taps, outputs), self._pooled(were), strict=True):
                for one, other in zip(ours, others, strict=True):
                    one[rows] = other
        return Before(taps, outputs, rows, self.terms.teacher_levels)

    def _pooled(self, seen: Maps) -> tuple[list[Tensor], list[Tensor]]:
        """Return the means over cells of the teacher's maps, and of what its neck puts out on the levels at hand."""
        tapped, outputs = seen
        return [pooled(one) for one in tapped], [pooled(one) for one in self.reader.put_out("teacher", outputs, tapped)]

    def _standardised(self, maps: Maps) -> Maps:
        """Standardise the maps that the host sees, on the levels where SFA acts on its inputs."""
        if not self.terms.standardised:
            return maps
        chosen = self.terms.standardised
        sides = [
            [standardise(one.float()) if level in chosen else one for level, one in enumerate(side)] for side in maps
        ]
        return sides[0], sides[1]

    def adversarial_losses(self, images: list[Tensor], targets: Targets, before: Before | None) -> dict[str, Tensor]:
        """Return the loss between the maps of adversarial copies; none where there is no such term."""
        if self.adversarial is None:
            return {}
        maps = self.reader.copies(images)
        told = [targets] * len(maps[0])
        if before is not None and "adversarial" in self.terms.confident:
            told = with_confidence(told, before.of_copies(maps[1]))
        return {"loss_adversarial": self._term("adversarial", self.adversarial, maps, told)}

    def enhanced_losses(self, images: list[Tensor]) -> dict[str, Tensor]:
        """Compute beta L_aug of DFMSD's Eq. 6 and 8: the host between the maps of enhanced images, nothing else.

        Its L_det and L_stage are those of the clean batch, and so are the student's running statistics, by which clean
        images are validated.
        """
        taps = self.reader.student_taps
        assert self.host is not None
        assert taps is not None
        batch = self.canvas({"inputs": images})["inputs"]
        theirs, _ = self.reader.features(batch, sizes_of(images))
        with untouched_statistics(self.reader.student), taps.capture() as ours:
            taps.forward(batch, sizes_of(images))
        nothing = [batch.new_zeros(0, 4)] * len(images)  # an enhanced image has no boxes, and this host asks for none
        enhanced = torch.ones(len(images), dtype=torch.bool, device=batch.device)
        targets = Targets(nothing, [boxes.new_zeros(0).long() for boxes in nothing], tuple(batch.shape[-2:]), enhanced)
        maps = self._standardised(self.reader.shared(ours, theirs))
        return {"loss_me": summed(self.host, maps, [targets] * len(maps[0]))}

    def look(self, data: Batch, side: Side) -> tuple[list[Tensor], Targets]:
        """Return the maps of the levels that are distilled, of images as training sees them, and their boxes.

        Args:
            data: `inputs` and `data_samples`, on the device.
            side: who looks.
        """
        batch = self.canvas({"inputs": data["inputs"], "data_samples": data["data_samples"]})
        return self.reader.look(batch, sizes_of(data["inputs"]), side), targets_of(batch)

    def _term(self, name: str, levels: nn.ModuleList, maps: Maps, told: Sequence[Targets]) -> Tensor:
        """Sum a loss over levels, each with the targets it is told, and note its effective weight where it has one."""
        self.effective_weights |= effective_weights(name, levels, maps)
        return summed(levels, maps, told)
