"""The model of a trial: a student, its hidden teacher, and the loss terms between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ikd.detectors import Taps
from ikd.distill._build import AdaptedLoss
from ikd.distill.functional import Targets
from ikd.errors import NonFiniteLoss

Batch = dict[str, Any]
_NORMALISATION = ("mean", "std", "_enable_normalize", "_channel_conversion", "pad_size_divisor", "pad_value")


class DistillDetector(BaseModel):
    """Student, teacher and terms; one training step returns a dict of named losses.

    The clean batch feeds the student's own loss and the host terms, the adversarial batch (while the data carries one)
    only the adversarial term. The teacher sees both without gradient. It is no submodule: it appears neither in
    `parameters()` nor in `state_dict()`, but moves with `to()`.

    Args:
        student: mmdet detector.
        teacher: frozen mmdet detector, or None.
        host: name of the host loss and its module per level, tapped at the FPN convolutions; None without one.
        adversarial: adversarial loss per level, on the neck outputs; None without it.
    """

    student: Any  # an mmdet detector; mmdet is untyped
    teacher: Any

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None = None,
        *,
        host: tuple[str, Sequence[AdaptedLoss]] | None = None,
        adversarial: Sequence[AdaptedLoss] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=BaseDataPreprocessor())  # moves to the device; each detector normalises
        self.student = student
        self.__dict__["teacher"] = teacher  # past nn.Module, so that it is no submodule
        self.host_name = host[0] if host else None
        self.host = nn.ModuleList(host[1]) if host else None
        self.adversarial = nn.ModuleList(adversarial) if adversarial is not None else None
        self.student_taps = Taps(student) if host else None
        self.teacher_taps = Taps(teacher) if host and teacher is not None else None
        self.effective_weights: dict[str, float] = {}
        self.position = (0, 0)  # epoch and step, for the error message; the trainer's hook sets it

    def init_weights(self) -> None:
        """Do nothing: detectors come initialised, and inherited or loaded weights must stay."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DistillDetector:
        if self.teacher is not None:
            self.teacher._apply(fn)
        super()._apply(fn, recurse)
        return self

    def train_step(self, data: Batch, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Run one step; stop before the optimiser when a loss is not finite.

        Raises:
            NonFiniteLoss: names the losses that are NaN or infinite.
        """
        with optim_wrapper.optim_context(self):
            losses = self.losses(self.data_preprocessor(data, True))
        total, named = self.parse_losses(losses)
        if not torch.isfinite(total):
            raise NonFiniteLoss(_non_finite(named), *self.position)
        optim_wrapper.update_params(total)
        return {name.removeprefix("loss_"): value.detach() for name, value in named.items() if name != "loss"} | {
            "total": total.detach()
        }

    def val_step(self, data: Batch) -> list[Any]:
        """Predict with the student."""
        return list(self.student.val_step(data))

    test_step = val_step

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Forward to the student, as mmengine expects of a model."""
        return self.student(inputs, data_samples, mode=mode)

    def losses(self, data: Batch) -> dict[str, Any]:
        """Compute all losses of one batch on the device.

        Args:
            data: `inputs` (list of [3, H, W] pixel images), `data_samples`, and, while the adversarial phase lasts,
                `adversarial` (images of the same shapes).

        Returns:
            Losses by name; every name that holds `loss` is summed into the total.
        """
        clean = self.student.data_preprocessor({"inputs": data["inputs"], "data_samples": data["data_samples"]}, True)
        losses = self._clean_losses(clean, data["inputs"])
        if "adversarial" in data and self.adversarial is not None:
            losses["loss_adversarial"] = self._adversarial_loss(data["adversarial"], targets_of(clean))
        return losses

    def _clean_losses(self, clean: Batch, images: list[Tensor]) -> dict[str, Any]:
        if self.host is None or self.student_taps is None or self.teacher_taps is None:
            return dict(self.student.loss(clean["inputs"], clean["data_samples"]))
        with torch.no_grad(), self.teacher_taps.capture() as teacher_features:
            self.teacher.extract_feat(self._for_teacher(clean["inputs"], images))
        with self.student_taps.capture() as student_features:
            losses = dict(self.student.loss(clean["inputs"], clean["data_samples"]))
        name = str(self.host_name)
        losses[f"loss_{name}"] = self._term(name, self.host, (student_features, teacher_features), targets_of(clean))
        return losses

    def _adversarial_loss(self, images: list[Tensor], targets: Targets) -> Tensor:
        assert self.adversarial is not None
        batch = self.student.data_preprocessor({"inputs": images}, True)["inputs"]
        with torch.no_grad():
            teacher_features = self.teacher.extract_feat(self._for_teacher(batch, images))
        student_features = self.student.extract_feat(batch)
        return self._term("adversarial", self.adversarial, (student_features, teacher_features), targets)

    def _for_teacher(self, batch: Tensor, images: list[Tensor]) -> Tensor:
        """Return the batch in the teacher's own normalisation; the student's serves when the two agree."""
        own, other = self.student.data_preprocessor, self.teacher.data_preprocessor
        if all(_equal(getattr(own, key, None), getattr(other, key, None)) for key in _NORMALISATION):
            return batch
        return other({"inputs": images}, False)["inputs"]

    def _term(
        self, name: str, levels: nn.ModuleList, features: tuple[Sequence[Tensor], Sequence[Tensor]], targets: Targets
    ) -> Tensor:
        """Sum a loss over levels in float32: sums over a map overflow half precision."""
        device = features[0][0].device.type
        with torch.autocast(device, enabled=False):
            pairs = zip(levels, *features)  # noqa: B905 (a neck may have more outputs than the loss has levels)
            parts = [loss(student.float(), teacher.float(), targets) for loss, student, teacher in pairs]
        self._note_weight(name, levels, features[1])
        return torch.stack(parts).sum()

    def _note_weight(self, name: str, levels: nn.ModuleList, features: Sequence[Tensor]) -> None:
        losses: list[Any] = [level.loss for level in levels]
        if hasattr(losses[0], "effective_weight"):
            weights = [loss.effective_weight(feature[0].numel()) for loss, feature in zip(losses, features)]  # noqa: B905
            self.effective_weights[name] = math.fsum(weights)


def targets_of(batch: Batch) -> Targets:
    """Take the boxes of a preprocessed mmdet batch, ignored and crowd boxes left out."""
    samples = batch["data_samples"]
    return Targets(
        boxes=[sample.gt_instances.bboxes for sample in samples],
        labels=[sample.gt_instances.labels for sample in samples],
        input_size=tuple(batch["inputs"].shape[-2:]),
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return bool(torch.equal(one, other))
    return bool(one == other)


def _non_finite(named: Mapping[str, Tensor]) -> dict[str, float]:
    values = {name: float(value.detach()) for name, value in named.items()}
    parts = {name: value for name, value in values.items() if not math.isfinite(value) and name != "loss"}
    return parts or {"total": values["loss"]}
