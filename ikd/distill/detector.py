"""The model of a trial: a student, its hidden teacher, and the loss terms between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from typing import Any, Literal, Protocol

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.detectors import Taps, boxes_only, has_masks
from ikd.distill.agreement import Agreement, shared_weights
from ikd.distill.blame import cause_of
from ikd.distill.canvas import Canvas, sizes_of, untouched_statistics
from ikd.distill.confidence import Before, altered_rows, pooled, with_confidence
from ikd.distill.crosskd import CrossHeads, CrossRegions
from ikd.distill.functional import Targets, full_precision, standardise
from ikd.distill.gradients import relative_pulls
from ikd.distill.knowledge import Knowledge, Known, SeenInstances
from ikd.distill.labels import IMAGES, NAME, SAMPLES, averaged, boxes_in, ignored, weighed
from ikd.distill.losses.adapted import AdaptedPyramid
from ikd.distill.resizing import resized
from ikd.distill.response import ScoreHeads, SeenLosses
from ikd.distill.terms import NOTHING, Batch, Maps, Terms
from ikd.errors import NonFiniteLoss, refuse

Side = Literal["student", "teacher"]


class Stepping(Protocol):
    """What turns losses into a step, as mmengine's optimiser wrappers do; see `ikd.training.optim`."""

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]: ...  # noqa: D102

    def losses(self, model: Any, data: Batch) -> dict[str, Any]: ...  # noqa: D102

    def backward(self, loss: Tensor) -> None: ...  # noqa: D102

    def clip(self) -> Tensor | None: ...  # noqa: D102

    def step(self) -> None: ...  # noqa: D102

    def zero_grad(self) -> None: ...  # noqa: D102


class Average(Protocol):
    """A moving average of the student; see `ikd.training.optim`."""

    @property
    def module(self) -> nn.Module: ...  # noqa: D102

    def update(self, student: nn.Module) -> None: ...  # noqa: D102

    def share(self) -> None: ...  # noqa: D102

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102


class DistillDetector(BaseModel):
    """Student, teacher and terms; one training step returns a dict of named losses.

    The clean batch feeds the student's own loss and the host terms, the adversarial batch (while the data carries one)
    only the adversarial term, the batch of enhanced copies (while the data carries one) only the host. The teacher sees
    all of them without gradient. It is no submodule: it appears neither in `parameters()` nor in `state_dict()`, but
    moves with `to()`.

    Args:
        student: mmdet detector.
        teacher: frozen mmdet detector, or None.
        terms: what is distilled; nothing by default.
    """

    student: Any  # an mmdet detector; mmdet is untyped
    teacher: Any

    def __init__(self, student: nn.Module, teacher: nn.Module | None = None, terms: Terms = NOTHING) -> None:
        super().__init__(data_preprocessor=BaseDataPreprocessor(non_blocking=True))  # the canvas normalises
        self.student = student
        self.__dict__["teacher"] = teacher  # past nn.Module, so that it is no submodule
        self.terms = terms
        self.canvas = Canvas(student, teacher)
        self.host = nn.ModuleList(terms.host[1]) if terms.host else None
        self.alignment = nn.ModuleList(terms.alignment.values()) if terms.alignment else None
        self.adversarial = nn.ModuleList(terms.adversarial) if terms.adversarial is not None else None
        self.connectors = terms.heads.connectors if isinstance(terms.heads, (CrossHeads, CrossRegions)) else None
        self.decoder = terms.decoder
        self.prototypes = terms.prototypes
        self.knowledge = (
            Knowledge(student, terms.prototypes, terms.response, couples=terms.coupled) if terms.prototypes else None
        )
        self.agreement = Agreement(terms.names, **terms.agreement) if terms.agreement is not None else None
        self.reads_maps = teacher is not None and bool(terms.host or terms.alignment or terms.prototypes)
        reads = self.reads_maps or terms.adversarial is not None
        self.student_taps = Taps(student, terms.taps[0]) if reads else None
        self.teacher_taps = Taps(teacher, terms.taps[1]) if reads and teacher is not None else None
        self.teacher_type: torch.dtype | None = None  # that the teacher computes in; None is the student's
        self.effective_weights: dict[str, float] = {}
        self.pulls: dict[str, float] = {}
        self._own_losses: frozenset[str] = frozenset()
        self.average: Average | None = None  # of the student, which then predicts in its place; no submodule
        self.validates_masks = False  # pasting them takes longer than all the rest
        self.position = (0, 0)  # epoch and step, for the error message; the trainer's hook sets it
        self.resize = 1.0  # factor of the sizes of a batch; a hook sets it
        self.distils = True  # until distillation ends; a hook sets it
        self.host_share = 1.0  # of the host's weights, while it rises to them; a hook sets it
        self.labels_share = 1.0  # and of the weight of the teacher's labels

    def init_weights(self) -> None:
        """Do nothing: detectors come initialised, and inherited or loaded weights must stay."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DistillDetector:
        if self.teacher is not None:
            self.teacher._apply(fn)
        super()._apply(fn, recurse)
        return self

    def _set_device(self, device: torch.device) -> None:
        """Tell every preprocessor where it is; mmengine reaches those of submodules."""
        super()._set_device(device)
        if self.teacher is not None:
            self.teacher._set_device(device)

    def train_step(self, data: Batch, optim_wrapper: Stepping) -> dict[str, Tensor]:
        """Run one step; stop before the optimiser when a loss or a gradient is not finite.

        Raises:
            NonFiniteLoss: names the losses that are NaN or infinite.
        """
        with optim_wrapper.optim_context(self):
            batch = self.data_preprocessor(data, True)
            losses = optim_wrapper.losses(self, batch)
        total, named = self.parse_losses(losses)
        if self.agreement is not None:
            named = self._weighed(named, self.agreement, optim_wrapper)
            total = named["loss"]
        self._measure(named, optim_wrapper)
        optim_wrapper.backward(total)
        if broken := self._not_finite(total, named, optim_wrapper.clip()):
            with optim_wrapper.optim_context(self):
                raise NonFiniteLoss(broken, *self.position, self._cause(batch))
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        # neither their sum, nor the accuracies that two-stage heads put beside them
        parts = {name: value for name, value in named.items() if _counts(name)}
        return {name.removeprefix("loss_"): value.detach() for name, value in parts.items()} | {"total": total.detach()}

    def _not_finite(self, total: Tensor, named: Mapping[str, Tensor], norm: Tensor | None) -> dict[str, float]:
        """Return the losses that are not finite.

        This waits for loss and gradients, the one moment of a step where the CPU waits for a GPU. It comes when the
        whole backward pass is in the GPU's queue. A gradient may be infinite where the loss is not.
        """
        watched = {"total": total.detach()} | ({} if norm is None else {"gradient": norm})
        if torch.stack([value.float() for value in watched.values()]).isfinite().all():
            return {}
        losses = {name: value for name, value in named.items() if name != "loss"}
        return _broken(losses) or _broken(watched)

    def _cause(self, batch: Batch) -> str:
        """Say what is wrong with the data or the teacher of a batch whose losses are not finite."""
        images = batch["inputs"]

        def teach() -> Sequence[Tensor]:
            return self._teach(self.canvas({"inputs": images})["inputs"], sizes_of(images))

        return cause_of(batch, self.teacher, teach)

    def _measure(self, named: Mapping[str, Tensor], optim_wrapper: Any) -> None:
        """Note how hard each term pulls on the student's backbone, on the first batch of an epoch."""
        if not self.terms.measured or self.position[1] != 1:
            return
        own, terms = self._sides(named)
        scaler = getattr(optim_wrapper, "loss_scaler", None)
        self.pulls = relative_pulls(own, terms, self.student, scaler.get_scale() if scaler is not None else 1.0)

    def _weighed(self, named: Mapping[str, Tensor], agreement: Agreement, optim_wrapper: Any) -> dict[str, Tensor]:
        """Return the losses with those of terms multiplied by the factors of agreement, and their sum anew."""
        own, terms = self._sides(named)
        scaler = getattr(optim_wrapper, "loss_scaler", None)
        scale = scaler.scale if scaler is not None else lambda loss: loss
        factors = agreement(own, terms, shared_weights(self.student), scale)
        weighed = {
            name: value * factors[term] if (term := self._term_of(name)) in terms else value
            for name, value in named.items()
        }
        return weighed | {"loss": sum((value for name, value in weighed.items() if _counts(name)), own * 0)}

    def _sides(self, named: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the student's own losses, and that of each term."""
        terms: dict[str, Tensor] = {}
        own = named["loss"] * 0
        for name, value in named.items():
            if name in self._own_losses and "loss" in name:
                own = own + value
            elif _counts(name):
                term = self._term_of(name)
                terms[term] = terms[term] + value if term in terms else value
        return own, terms

    def _term_of(self, name: str) -> str:
        """Return the term that a loss belongs to: all that heads are compared by is the host, its decoder too."""
        host = self.terms.host[0] if self.terms.host else self.terms.heads.name if self.terms.heads else None
        terms = [*self.terms.between_heads, *([host] if host else []), NAME]
        return next((one for one in terms if name.startswith(f"loss_{one}_")), name.removeprefix("loss_"))

    @property
    def validated(self) -> Any:
        """The detector that predicts, and that is kept: the student, or its average."""
        return self.student if self.average is None else self.average.module

    def val_step(self, data: Batch) -> list[Any]:
        """Predict with the student, or its average: boxes, and masks where they are validated."""
        with nullcontext() if self.validates_masks else boxes_only(self.validated):
            return list(self.validated.val_step(data))

    test_step = val_step

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Forward to the student, as mmengine expects of a model."""
        return self.student(inputs, data_samples, mode=mode)

    def losses(self, data: Batch) -> dict[str, Any]:
        """Compute all losses of one batch on the device.

        Args:
            data: `inputs` (list of [3, H, W] pixel images), `data_samples`, and, while the adversarial phase lasts,
                `adversarial` (images of the same shapes), where enhanced images come in addition, `enhanced` (an
                image each, of any shape), for cosine confidence, `reference` (the images before they were altered, of
                the same shapes), and `unlabelled` and `unlabelled_samples` (photographs with the teacher's boxes).

        Returns:
            Losses by name; every name that holds `loss` is summed into the total.
        """
        data = resized(data, self.resize)
        clean = self.canvas({"inputs": data["inputs"], "data_samples": data["data_samples"]})
        if not self.distils:
            own = dict(self.student.loss(clean["inputs"], self._truth(clean)))
            self._own_losses = frozenset(own)
            return own
        seen = self._teacher_features(clean["inputs"], sizes_of(data["inputs"]))
        before = self._before(data, seen)
        own, terms = self._clean_losses(clean, seen, before)
        self._own_losses = frozenset(own)
        losses = own | self._with_unlabelled(terms, data)
        if "adversarial" in data and self.adversarial is not None:
            losses["loss_adversarial"] = self._adversarial_loss(data["adversarial"], targets_of(clean), before)
        if "enhanced" in data:
            losses["loss_me"] = self._enhanced_loss(data["enhanced"])
        return losses

    def _truth(self, clean: Batch) -> list[Any]:
        """Return the samples without masks that only the teacher reads: RTMDet's assigner would read them."""
        samples: list[Any] = clean["data_samples"]
        if has_masks(self.student) or not any("masks" in one.gt_instances for one in samples):
            return samples
        bare = [one.clone() for one in samples]
        for one in bare:
            one.gt_instances = one.gt_instances.clone()
            one.gt_instances.pop("masks", None)
        return bare

    def _with_unlabelled(self, terms: dict[str, Any], data: Batch) -> dict[str, Any]:
        """Add what photographs without labels give: their part of the terms, and the student's own loss on them.

        That is a call of its own: what a head divides by is counted in one part alone.
        """
        if not data.get(IMAGES) or self.terms.labels is None:
            return terms
        images, count, section = data[IMAGES], len(data["inputs"]), self.terms.labels
        batch = self.canvas({"inputs": images, "data_samples": data[SAMPLES]})
        seen = self._teacher_features(batch["inputs"], sizes_of(images))
        with ignored(self.student, acts=section.ignores):
            own, more = self._clean_losses(batch, seen, None)
        weight = section.weight * self.labels_share if boxes_in(batch["data_samples"]) else 0.0
        found = averaged([(terms, count), (more, len(images))])
        return found | weighed(own, weight) if section.hard else found

    def _clean_losses(self, clean: Batch, taught: Maps, before: Before | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the student's own losses of a batch, and those of the terms on clean images."""
        theirs, outputs = taught if self.reads_maps else ([], taught[1])
        with ExitStack() as stack:
            ours = stack.enter_context(self.student_taps.capture()) if self.student_taps and self.reads_maps else []
            seen = stack.enter_context(self.terms.heads.capture()) if self.terms.heads else None
            predicted = stack.enter_context(self.terms.predictions.capture()) if self.terms.predictions else None
            asked = stack.enter_context(self.terms.queries.capture()) if self.terms.queries else None
            said = stack.enter_context(self.terms.soft.capture()) if self.terms.soft else None
            instances = stack.enter_context(self.knowledge.capture()) if self.knowledge else None
            losses = dict(self.student.loss(clean["inputs"], self._truth(clean)))
        terms: dict[str, Any] = {}
        maps = self._shared(ours, theirs) if theirs else ([], [])
        targets = targets_of(clean)
        confidence = before.of_altered(theirs) if before is not None else []
        known = None
        if self.knowledge is not None and instances is not None:
            counts = confidence if "prototypes" in self.terms.confident else []
            counted = replace(targets, confidence=torch.stack(counts).mean(dim=0)) if counts else targets
            known = self._learn(self.knowledge, instances, maps, counted, seen)
            terms |= self.knowledge.losses(known, instances, maps, outputs)
        if self.terms.heads is not None and seen is not None:
            found = self.terms.heads.losses(seen, outputs)
            terms |= {name: self.host_share * value for name, value in found.items()}
        if self.terms.predictions is not None and predicted is not None:
            terms |= self.terms.predictions.losses(predicted, outputs, targets.boxes)
        if self.terms.queries is not None and asked is not None:
            terms |= self.terms.queries.losses(asked, outputs, clean["data_samples"], self.position)
        if self.terms.soft is not None and said is not None:
            terms |= self.terms.soft.losses(said, clean["data_samples"])
        if theirs:
            told = self._told(maps, targets, seen, known)
            terms |= self._map_losses(maps, targets, with_confidence(told, confidence) if confidence else told)
        if taken := losses.keys() & terms.keys():
            name = min(taken).removeprefix("loss_")
            whose = type(self.student).__name__
            rule = f"must not be the name of a loss that a {whose} trains with, whose place it would take"
            refuse("distill.host", rule, name, "register it under another name")
        return losses, terms

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
        cells = [seen.importance[level] for level in self._outputs("teacher")]
        return [replace(one, importance=importance) for one, importance in zip(told, cells, strict=True)]

    @torch.no_grad()
    def _teach(self, batch: Tensor, sizes: list[tuple[int, int]]) -> Sequence[Tensor]:
        """Return the outputs of the teacher's neck for the student's batch, computed in the teacher's own type."""
        seen, chosen = self.canvas.for_teacher(batch, sizes), self.teacher_type
        if chosen is None:
            return self._ran(self.teacher, self.teacher_taps, seen, sizes)
        half = chosen is not torch.float32
        with torch.autocast(seen.device.type, dtype=chosen if half else None, enabled=half):
            return [full_precision(one) for one in self._ran(self.teacher, self.teacher_taps, seen, sizes)]

    @staticmethod
    def _ran(detector: Any, taps: Taps | None, batch: Tensor, sizes: list[tuple[int, int]]) -> Sequence[Tensor]:
        """Run a detector as far as it is read, and return the outputs of its neck."""
        outputs: Sequence[Tensor] = taps.forward(batch, sizes) if taps else detector.extract_feat(batch)
        return outputs

    def _outputs(self, side: Side) -> list[int]:
        """Return the neck's outputs that a side's levels belong to.

        Raises:
            BadInput: one belongs to none.
        """
        terms = self.terms
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

    @torch.no_grad()
    def _teacher_features(
        self, batch: Tensor, sizes: list[tuple[int, int]]
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the teacher's maps at the FPN convolutions and its neck's outputs; empty where nothing reads them."""
        reads = self.terms.heads or self.terms.predictions or self.terms.queries
        if not self.reads_maps and reads is None and not self.terms.confident:
            return [], []
        with ExitStack() as stack:
            tapped = stack.enter_context(self.teacher_taps.capture()) if self.teacher_taps else []
            outputs = self._teach(batch, sizes)
        return tapped, outputs

    @torch.no_grad()
    def look(self, data: Batch, side: Side) -> tuple[list[Tensor], Targets]:
        """Return the maps of the levels that are distilled, of images as training sees them, and their boxes.

        Args:
            data: `inputs` and `data_samples`, on the device.
            side: who looks.
        """
        batch = self.canvas({"inputs": data["inputs"], "data_samples": data["data_samples"]})
        targets = targets_of(batch)
        if side == "teacher":
            theirs, _ = self._teacher_features(batch["inputs"], sizes_of(data["inputs"]))
            return [theirs[level] for level in self.terms.teacher_levels], targets
        assert self.student_taps is not None
        with self.student_taps.capture() as ours:
            self.student_taps.forward(batch["inputs"], sizes_of(data["inputs"]))
        return [ours[level] for level in self.terms.student_levels], targets

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

    def _before(self, data: Batch, seen: Maps) -> Before | None:
        """Look through the teacher at the images as they were before they were altered; None where nobody asks."""
        if not self.terms.confident:
            return None
        taps, outputs = self._pooled(seen)
        if rows := altered_rows(data):
            batch, sizes = self.canvas({"inputs": data["reference"]})["inputs"], sizes_of(data["reference"])
            were = self._teacher_features(batch[rows], [sizes[row] for row in rows])
            for ours, others in zip((taps, outputs), self._pooled(were), strict=True):
                for one, other in zip(ours, others, strict=True):
                    one[rows] = other
        return Before(taps, outputs, rows, self.terms.teacher_levels)

    def _pooled(self, seen: Maps) -> tuple[list[Tensor], list[Tensor]]:
        """Return the means over cells of the teacher's maps, and of what its neck puts out on the levels at hand."""
        tapped, outputs = seen
        return [pooled(one) for one in tapped], [pooled(one) for one in self._put_out("teacher", outputs, tapped)]

    def _standardised(self, maps: Maps) -> Maps:
        """Standardise the maps that the host sees, on the levels where SFA acts on its inputs."""
        if not self.terms.standardised:
            return maps
        chosen = self.terms.standardised
        sides = [
            [standardise(one.float()) if level in chosen else one for level, one in enumerate(side)] for side in maps
        ]
        return sides[0], sides[1]

    def _shared(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Maps:
        """Keep the levels that are distilled, of one size each.

        Raises:
            BadInput: their maps differ in size, so that their cells do not look at the same pixels.
        """
        terms = self.terms
        return self._of_one_size(
            [ours[level] for level in terms.student_levels], [theirs[level] for level in terms.teacher_levels]
        )

    def _of_one_size(self, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Maps:
        """Return the maps of pairs of levels; see `_shared`."""
        maps = ours, theirs
        if self.terms.resized:
            return [_like(one, other) for one, other in zip(*maps, strict=True)], maps[1]
        for one, other in zip(*maps, strict=True):
            if one.shape[2:] != other.shape[2:]:
                sides = " and ".join(f"{tuple(side.shape[2:])}" for side in (one, other))
                pair = f"{type(self.student).__name__} and {type(self.teacher).__name__}"
                refuse("distill", f"must compare maps of one size; those of {pair} are of (height, width)", sides)
        return maps

    def _adversarial_loss(self, images: list[Tensor], targets: Targets, before: Before | None) -> Tensor:
        assert self.adversarial is not None
        batch = self.canvas({"inputs": images})["inputs"]
        assert self.student_taps is not None
        assert self.teacher_taps is not None
        sizes = sizes_of(images)
        with self.teacher_taps.capture() as tapped:
            theirs = self._put_out("teacher", self._teach(batch, sizes), tapped)
        kept = nullcontext() if self.terms.statistics_follow else untouched_statistics(self.student)
        with kept, self.student_taps.capture() as tapped:
            ours = self._put_out("student", self.student_taps.forward(batch, sizes), tapped)
        maps = self._of_one_size(ours, theirs)
        told = [targets] * len(maps[0])
        if before is not None and "adversarial" in self.terms.confident:
            told = with_confidence(told, before.of_copies(theirs))
        return self._term("adversarial", self.adversarial, maps, told)

    def _put_out(self, side: Side, outputs: Sequence[Tensor], tapped: Sequence[Tensor]) -> list[Tensor]:
        """Return a side's maps of the levels that are distilled as its neck puts them out.

        Those that are read where they are an encoder's, or modules that a person has named.
        """
        student = side == "student"
        levels = self.terms.student_levels if student else self.terms.teacher_levels
        choice = self.terms.taps[0 if student else 1]
        return [(outputs if choice in ("auto", "outputs") else tapped)[level] for level in levels]

    def _enhanced_loss(self, images: list[Tensor]) -> Tensor:
        """Compute beta L_aug of DFMSD's Eq. 6 and 8: the host between the maps of enhanced images, nothing else.

        Its L_det and L_stage are those of the clean batch, and so are the student's running statistics, by which clean
        images are validated.
        """
        assert self.host is not None
        assert self.student_taps is not None
        batch = self.canvas({"inputs": images})["inputs"]
        theirs, _ = self._teacher_features(batch, sizes_of(images))
        with untouched_statistics(self.student), self.student_taps.capture() as ours:
            self.student_taps.forward(batch, sizes_of(images))
        nothing = [batch.new_zeros(0, 4)] * len(images)  # an enhanced image has no boxes, and this host asks for none
        enhanced = torch.ones(len(images), dtype=torch.bool, device=batch.device)
        targets = Targets(nothing, [boxes.new_zeros(0).long() for boxes in nothing], tuple(batch.shape[-2:]), enhanced)
        maps = self._standardised(self._shared(ours, theirs))
        return _summed(self.host, maps, [targets] * len(maps[0]))

    def _term(self, name: str, levels: nn.ModuleList, maps: Maps, told: Sequence[Targets]) -> Tensor:
        """Sum a loss over levels, each with the targets it is told, and note its effective weight where it has one."""
        losses: list[Any] = [level.loss for level in levels]
        if hasattr(losses[0], "effective_weight"):
            sizes = [feature[0].numel() for feature in maps[1]]
            weights = [loss.effective_weight(size) for loss, size in zip(losses, sizes, strict=True)]
            self.effective_weights |= _by_term(name, weights)
        return _summed(levels, maps, told)


def _summed(levels: nn.ModuleList, maps: Maps, told: Sequence[Targets]) -> Tensor:
    """Sum a loss over levels, each told what is known there; one of the whole pyramid compares all by itself."""
    if isinstance(levels[0], AdaptedPyramid):
        counts = [one.confidence for one in told if one.confidence is not None]
        confidence = torch.stack(counts).mean(dim=0) if counts else None
        whole: Tensor = levels[0](*maps, replace(told[0], confidence=confidence))
        return whole
    rows = zip(levels, *maps, told, strict=True)
    return torch.stack([loss(student, teacher, known) for loss, student, teacher, known in rows]).sum()


def _counts(name: str) -> bool:
    """Tell whether a named value is a loss that the total is the sum of."""
    return "loss" in name and name != "loss"


def _broken(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return those of named scalars that are not finite."""
    read = {name: float(value.detach()) for name, value in values.items()}
    return {name: value for name, value in read.items() if not math.isfinite(value)}


def _by_term(name: str, weights: Sequence[float | Mapping[str, float]]) -> dict[str, float]:
    """Return effective weights summed over levels: of a loss with several terms one each, as `fgd_alpha`."""
    by_level = [weight if isinstance(weight, Mapping) else {"": weight} for weight in weights]
    return {f"{name}_{part}" if part else name: math.fsum(level[part] for level in by_level) for part in by_level[0]}


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
