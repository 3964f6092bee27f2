"""The model of a trial: a student, its hidden teachers, and the loss terms between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor, nn

from ikd.augment import copy_against
from ikd.detectors import boxes_only, has_masks
from ikd.distill.agreement import Agreement, shared_weights
from ikd.distill.blame import cause_of
from ikd.distill.canvas import Canvas, sizes_of
from ikd.distill.confidence import Before
from ikd.distill.gradients import relative_pulls
from ikd.distill.labels import IMAGES, NAME, SAMPLES, averaged, boxes_in, ignored, weighed
from ikd.distill.lesson import Lesson
from ikd.distill.reader import Side, targets_of
from ikd.distill.resizing import resized
from ikd.distill.stepping import Average, Stepping, broken, counts
from ikd.distill.terms import NOTHING, Batch, Maps, Taught, Terms
from ikd.errors import NonFiniteLoss, refuse

__all__ = ["Average", "DistillDetector", "Lesson", "Side", "Stepping"]


class DistillDetector(BaseModel):
    r"""Student, teachers and terms; one training step returns a dict of named losses.

    The clean batch feeds the student's own loss and the host terms, the adversarial batch (while the data carries one)
    only the adversarial term, the batch of enhanced copies (while the data carries one) only the host. The teacher sees
    all of them without gradient. It is no submodule: it appears neither in `parameters()` nor in `state_dict()`, but
    moves with `to()`.

    Of several teachers at once each has terms, adapters and prototypes of its own, and

    .. math:: L = L_{det} + \sum_t w_t L_t, \quad \sum_t w_t = 1.

    Args:
        student: mmdet detector.
        teacher: frozen mmdet detector, or None.
        terms: what is distilled; nothing by default.
        together: several teachers in the place of `teacher` and `terms`, each with its weight. Labels, agreement and
            measuring are those of the first one's terms.
    """

    student: Any  # an mmdet detector; mmdet is untyped
    canvas: Canvas

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None = None,
        terms: Terms = NOTHING,
        *,
        together: Sequence[Taught] = (),
    ) -> None:
        super().__init__(data_preprocessor=BaseDataPreprocessor(non_blocking=True))  # the canvas normalises
        self.student = student
        self._hold(together or [Taught(teacher, terms, "", 1.0)])
        names, agreement = [name for lesson in self.lessons for name in lesson.names], self.terms.agreement
        self.agreement = Agreement(names, **agreement) if agreement is not None else None
        self.pulls: dict[str, float] = {}
        self._own_losses: frozenset[str] = frozenset()
        self.average: Average | None = None  # of the student, which then predicts in its place; no submodule
        self.validates_masks = False  # pasting them takes longer than all the rest
        self.position = (0, 0)  # epoch and step, for the error message; the trainer's hook sets it
        self.resize = 1.0  # factor of the sizes of a batch; a hook sets it
        self.distils = True  # until distillation ends; a hook sets it
        self.labels_share = 1.0  # of the weight of the teacher's labels, while it rises to that; a hook sets it

    def _hold(self, taught: Sequence[Taught]) -> None:
        """Make the lessons; the modules of one alone are the model's own, by which checkpoints know them."""
        teachers = [one.teacher for one in taught if one.teacher is not None]
        self.lessons = tuple(Lesson(self.student, one, teachers) for one in taught)  # a tuple registers none
        if len(self.lessons) > 1:
            self.together = nn.ModuleList(self.lessons)
            self.__dict__["canvas"] = self.lessons[0].canvas  # which makes the batch that all see
            return
        for name, module in self.lessons[0].named_children():
            self.add_module(name, module)

    @property
    def teacher(self) -> Any:
        """The teacher, or the first of several; None where there is none."""
        return self.lessons[0].teacher

    @property
    def teachers(self) -> list[Any]:
        """All teachers, in order."""
        return [one.teacher for one in self.lessons if one.teacher is not None]

    @property
    def terms(self) -> Terms:
        """What is distilled from it, and what the whole stage has: labels, agreement, measuring."""
        return self.lessons[0].terms

    @property
    def effective_weights(self) -> dict[str, float]:
        """Effective weights of the losses that have one, since the last `forget`."""
        return {one.called(name): value for one in self.lessons for name, value in one.effective_weights.items()}

    def forget(self) -> None:
        """Forget effective weights and pulls, so that only what acts from here on is reported."""
        self.pulls.clear()
        for lesson in self.lessons:
            lesson.effective_weights.clear()

    def init_weights(self) -> None:
        """Do nothing: detectors come initialised, and inherited or loaded weights must stay."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DistillDetector:
        for teacher in self.teachers:
            teacher._apply(fn)
        super()._apply(fn, recurse)
        return self

    def _set_device(self, device: torch.device) -> None:
        """Tell every preprocessor where it is; mmengine reaches those of submodules."""
        super()._set_device(device)
        for teacher in self.teachers:
            teacher._set_device(device)

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
        if faults := self._not_finite(total, named, optim_wrapper.clip()):
            with optim_wrapper.optim_context(self):
                raise NonFiniteLoss(faults, *self.position, self._cause(batch))
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        # neither their sum, nor the accuracies that two-stage heads put beside them
        parts = {name: value for name, value in named.items() if counts(name)}
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
        return broken(losses) or broken(watched)

    def _cause(self, batch: Batch) -> str:
        """Say what is wrong with the data or the teacher of a batch whose losses are not finite."""
        images = batch["inputs"]

        def teach(lesson: Lesson) -> Sequence[Tensor]:
            return lesson.reader.teach(self.canvas({"inputs": images})["inputs"], sizes_of(images))

        causes = (cause_of(batch, one.teacher, partial(teach, one)) for one in self.lessons)
        return next(filter(None, causes), "")

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
        return weighed | {"loss": sum((value for name, value in weighed.items() if counts(name)), own * 0)}

    def _sides(self, named: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the student's own losses, and that of each term."""
        terms: dict[str, Tensor] = {}
        own = named["loss"] * 0
        for name, value in named.items():
            if name in self._own_losses and "loss" in name:
                own = own + value
            elif counts(name):
                term = self._term_of(name)
                terms[term] = terms[term] + value if term in terms else value
        return own, terms

    def _term_of(self, name: str) -> str:
        """Return the term that a loss belongs to."""
        if name.startswith(f"loss_{NAME}_"):
            return NAME
        found = (lesson.term_of(name) for lesson in self.lessons)
        return next((one for one in found if one is not None), name.removeprefix("loss_"))

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
        sizes = sizes_of(data["inputs"])
        taught = [lesson.reader.features(clean["inputs"], sizes) for lesson in self.lessons]
        before = [lesson.before(data, maps) for lesson, maps in zip(self.lessons, taught, strict=True)]
        own, terms = self._clean_losses(clean, taught, before)
        self._own_losses = frozenset(own)
        losses = own | self._with_unlabelled(terms, data)
        for place, (lesson, one) in enumerate(zip(self.lessons, before, strict=True)):
            if (copies := data.get(copy_against(place))) is not None:
                losses |= lesson.shared_out(lesson.adversarial_losses(copies, targets_of(clean), one))
            if "enhanced" in data:
                losses |= lesson.shared_out(lesson.enhanced_losses(data["enhanced"]))
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
        taught = [lesson.reader.features(batch["inputs"], sizes_of(images)) for lesson in self.lessons]
        with ignored(self.student, acts=section.ignores):
            own, more = self._clean_losses(batch, taught, [None] * len(taught), labelled=False)
        weight = section.weight * self.labels_share if boxes_in(batch["data_samples"]) else 0.0
        found = averaged([(terms, count), (more, len(images))])
        return found | weighed(own, weight) if section.hard else found

    def _clean_losses(
        self, clean: Batch, taught: Sequence[Maps], before: Sequence[Before | None], *, labelled: bool = True
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the student's own losses of a batch, and those of the terms on clean images."""
        with ExitStack() as stack:
            seen = [stack.enter_context(lesson.capture(labelled=labelled)) for lesson in self.lessons]
            said = stack.enter_context(self.terms.soft.capture()) if self.terms.soft else None
            losses = dict(self.student.loss(clean["inputs"], self._truth(clean)))
        terms: dict[str, Any] = {}
        for lesson, ours, theirs, were in zip(self.lessons, seen, taught, before, strict=True):
            terms |= lesson.shared_out(lesson.losses(ours, clean, theirs, were, self.position))
        if self.terms.soft is not None and said is not None:
            terms |= self.terms.soft.losses(said, clean["data_samples"])
        if taken := losses.keys() & terms.keys():
            name = min(taken).removeprefix("loss_")
            whose = type(self.student).__name__
            rule = f"must not be the name of a loss that a {whose} trains with, whose place it would take"
            refuse("distill.host", rule, name, "register it under another name")
        return losses, terms
