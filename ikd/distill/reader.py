"""What is read of a pair of detectors in a step: their maps, of which images, and which of them are compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.detectors import Taps
from ikd.distill.canvas import Canvas, sizes_of, untouched_statistics
from ikd.distill.functional import Targets, full_precision
from ikd.distill.terms import Batch, Maps, Terms
from ikd.errors import refuse

Side = Literal["student", "teacher"]


class Reader:
    """Reads student and teacher where the terms ask for it.

    Holds both detectors without being a module, so that none enters the parameters a second time.

    Args:
        student: mmdet detector.
        teacher: frozen mmdet detector, or None.
        terms: what is distilled.
        canvas: of the pair.

    Attributes:
        reads_maps: terms on clean images compare maps.
        teacher_type: what the teacher computes in; None is the student's.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module | None, terms: Terms, canvas: Canvas) -> None:
        self.student: Any = student
        self.teacher: Any = teacher
        self._terms, self._canvas = terms, canvas
        self.reads_maps = teacher is not None and bool(terms.host or terms.alignment or terms.prototypes)
        reads = self.reads_maps or terms.adversarial is not None
        self.student_taps = Taps(student, terms.taps[0]) if reads else None
        self.teacher_taps = Taps(teacher, terms.taps[1]) if reads and teacher is not None else None
        self.teacher_type: torch.dtype | None = None

    @torch.no_grad()
    def teach(self, batch: Tensor, sizes: list[tuple[int, int]]) -> Sequence[Tensor]:
        """Return the outputs of the teacher's neck for the student's batch, computed in the teacher's own type."""
        seen, chosen = self._canvas.for_teacher(batch, sizes), self.teacher_type
        if chosen is None:
            return self._ran(seen, sizes)
        half = chosen is not torch.float32
        with torch.autocast(seen.device.type, dtype=chosen if half else None, enabled=half):
            return [full_precision(one) for one in self._ran(seen, sizes)]

    def _ran(self, batch: Tensor, sizes: list[tuple[int, int]]) -> Sequence[Tensor]:
        """Run the teacher as far as it is read, and return the outputs of its neck."""
        taps = self.teacher_taps
        outputs: Sequence[Tensor] = taps.forward(batch, sizes) if taps else self.teacher.extract_feat(batch)
        return outputs

    @torch.no_grad()
    def features(self, batch: Tensor, sizes: list[tuple[int, int]]) -> Maps:
        """Return the teacher's maps at the FPN convolutions and its neck's outputs; empty where nothing reads them."""
        terms = self._terms
        reads = terms.heads or terms.beside or terms.predictions or terms.queries
        if not self.reads_maps and not reads and not terms.confident:
            return [], []
        with ExitStack() as stack:
            tapped = stack.enter_context(self.teacher_taps.capture()) if self.teacher_taps else []
            outputs = self.teach(batch, sizes)
        return tapped, outputs

    @torch.no_grad()
    def look(self, batch: Batch, sizes: list[tuple[int, int]], side: Side) -> list[Tensor]:
        """Return a side's maps of the levels that are distilled.

        Args:
            batch: of the canvas.
            sizes: (height, width) of each image within it.
            side: who looks.
        """
        if side == "teacher":
            theirs, _ = self.features(batch["inputs"], sizes)
            return [theirs[level] for level in self._terms.teacher_levels]
        assert self.student_taps is not None
        with self.student_taps.capture() as ours:
            self.student_taps.forward(batch["inputs"], sizes)
        return [ours[level] for level in self._terms.student_levels]

    def copies(self, images: list[Tensor]) -> Maps:
        """Return both sides' maps of adversarial copies, on the levels that are distilled; see `put_out`."""
        assert self.student_taps is not None
        assert self.teacher_taps is not None
        batch, sizes = self._canvas({"inputs": images})["inputs"], sizes_of(images)
        with self.teacher_taps.capture() as tapped:
            theirs = self.put_out("teacher", self.teach(batch, sizes), tapped)
        kept = nullcontext() if self._terms.statistics_follow else untouched_statistics(self.student)
        with kept, self.student_taps.capture() as tapped:
            ours = self.put_out("student", self.student_taps.forward(batch, sizes), tapped)
        return self.of_one_size(ours, theirs)

    def put_out(self, side: Side, outputs: Sequence[Tensor], tapped: Sequence[Tensor]) -> list[Tensor]:
        """Return a side's maps of the levels that are distilled as its neck puts them out.

        Those that are read where they are an encoder's, or modules that a person has named.
        """
        student = side == "student"
        levels = self._terms.student_levels if student else self._terms.teacher_levels
        choice = self._terms.taps[0 if student else 1]
        return [(outputs if choice in ("auto", "outputs") else tapped)[level] for level in levels]

    def outputs(self, side: Side) -> list[int]:
        """Return the neck's outputs that a side's levels belong to.

        Raises:
            BadInput: one belongs to none.
        """
        terms = self._terms
        levels, outputs = (
            (terms.student_levels, terms.student_outputs)
            if side == "student"
            else (terms.teacher_levels, terms.teacher_outputs)
        )
        found = [output for output in (levels if outputs is None else outputs) if output is not None]
        if len(found) < len(levels):
            rule = "must name modules of the strides that the neck puts out: this host asks what heads say of each"
            refuse(f"distill.taps.{side}", rule, list(terms.taps[side == "teacher"]))
        return found

    def shared(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Maps:
        """Keep the levels that are distilled, of one size each.

        Raises:
            BadInput: their maps differ in size, so that their cells do not look at the same pixels.
        """
        terms = self._terms
        return self.of_one_size(
            [ours[level] for level in terms.student_levels], [theirs[level] for level in terms.teacher_levels]
        )

    def of_one_size(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Maps:
        """Return the maps of pairs of levels; see `shared`."""
        maps = ours, theirs
        if self._terms.resized:
            return [_like(one, other) for one, other in zip(*maps, strict=True)], maps[1]
        for one, other in zip(*maps, strict=True):
            if one.shape[2:] != other.shape[2:]:
                sides = " and ".join(f"{tuple(side.shape[2:])}" for side in (one, other))
                pair = f"{type(self.student).__name__} and {type(self.teacher).__name__}"
                refuse("distill", f"must compare maps of one size; those of {pair} are of (height, width)", sides)
        return maps


def _like(feature: Tensor, other: Tensor) -> Tensor:
    """Resize a map to the height and width of another, bilinear; the map itself where they agree."""
    size = other.shape[2:]
    return feature if feature.shape[2:] == size else F.interpolate(feature, size=size, mode="bilinear")


def targets_of(batch: Batch) -> Targets:
    """Take the boxes of a preprocessed mmdet batch, ignored and crowd boxes left out."""
    samples = batch["data_samples"]
    return Targets(
        boxes=[sample.gt_instances.bboxes for sample in samples],
        labels=[sample.gt_instances.labels for sample in samples],
        input_size=tuple(batch["inputs"].shape[-2:]),
        enhanced=_enhanced(samples, batch["inputs"].device),
    )


def _enhanced(samples: Sequence[Any], device: torch.device) -> Tensor | None:
    """Mark the samples that masking enhancement has changed, [N]; None where there is none."""
    chosen = [index for index, sample in enumerate(samples) if sample.metainfo.get("enhanced")]
    if not chosen:
        return None
    marks = torch.zeros(len(samples), dtype=torch.bool, device=device)
    for index in chosen:
        marks[index].fill_(True)  # a list would be copied to a GPU from pageable memory
    return marks
