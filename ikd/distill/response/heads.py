"""The losses between heads, other than CrossKD."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets
from ikd.distill.losses.imitation.masked import mean_over_cells
from ikd.distill.losses.imitation.pfi import disagreement_of
from ikd.distill.losses.vkd import ClassReduction
from ikd.distill.losses.weights import Reduction
from ikd.distill.response.objects import positives_of, rank_divergence
from ikd.distill.response.pairing import dense_head, dense_pair
from ikd.distill.response.places import SeenHead, dense_capture, places_of
from ikd.distill.views import place_logits
from ikd.distill.views.heads import locations, maps_of, said_by, surest_of


class ScoreHeads:
    r"""Vanilla KD: the student's class scores follow the teacher's at the same places.

    .. math:: L = w \tfrac1B \sum T^2 KL(p_T \| p_S)

    One stage: p are the sigmoids of each class at every anchor or point that the student's loss counts, B the
    positives of its own assignment. Two stages: p is the softmax over classes and background of the regions that the
    student's RoI head samples, which the teacher's RoI head scores on the teacher's features, and B is their number.

    Holds both heads without being a module, so that neither enters the parameters of what holds it.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        temperature: T > 0.
        weight: w.
        class_reduction: `sum` over classes, or `mean`.
        reduction: `published`, or `mean` over the places that count.
        asked: what a person has set, for messages; None is the host, or what a subclass stands for.

    Raises:
        BadInput: the two do not score the same places; see `ikd.distill.response.pairing`.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015; two stages as in Tang et al., ECCV 2022.
    """

    name = "vkd"
    asked = "distill.host vkd"

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        temperature: float,
        weight: float,
        class_reduction: ClassReduction,
        reduction: Reduction = "published",
        asked: str | None = None,
    ) -> None:
        self._places = places_of(asked or self.asked, student, teacher)
        self.temperature, self.weight = temperature, weight
        self.class_reduction, self.mean = class_reduction, reduction == "mean"

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's heads need not run twice."""
        return self._places.capture()

    def losses(self, seen: SeenHead, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_vkd`, or that of its name, weighted, a float32 scalar.

        Args:
            seen: of a `capture`; its `reliability` weighs places.
            teacher_features: outputs of the teacher's neck on the same images, [N, C, H, W] a level.
        """
        found = self._places.divergences(seen, teacher_features, self.temperature, self.class_reduction)
        divisor = found.counted.sum().clamp(min=1) if self.mean else found.divisor
        values = found.values if seen.reliability is None else found.values * seen.reliability
        return {f"loss_{self.name}": self.weight * (values * found.counted).sum() / divisor}

    def weigh(self, seen: SeenHead, instances: Targets, reliability: Tensor) -> None:
        """Let places count by the reliability [n] of instances: boxes of the truth, or of two stages sampled regions.

        A place counts as the most reliable instance over it, a region as itself, and background whole.
        """
        seen.reliability = self._places.weights(seen, instances, reliability)


class ReliableScores(ScoreHeads):
    """The response loss of Global Knowledge: vanilla KD of its own weight, whose places prototypes weigh (`weigh`)."""

    name = "prototypes_response"
    asked = "distill.prototypes.response_weight above 0"


class DecoupledHeads:
    r"""DeFeat's loss of the class scores: places with an object and those of background are averaged apart.

    .. math:: L = w_h T^2 \Big[ \tfrac{1}{|P|} \sum_P KL(p_T \| p_S) + \tfrac{1}{|B|} \sum_B KL(p_T \| p_S) \Big]

    The places and scores are those of `ScoreHeads`; P and B are the student's own positives and the rest. The authors
    have it for regions; between heads of one stage it is the same with sigmoids. At `w_head` 0 no heads are compared.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        w_head: w_h.
        temperature: T > 0.

    Raises:
        BadInput: the two do not score the same places, and w_head is above 0.

    References:
        Guo et al., CVPR 2021, Eq. 6; `ggjy/DeFeat.pytorch`.
    """

    name = "defeat"

    def __init__(self, student: nn.Module, teacher: nn.Module, *, w_head: float, temperature: float) -> None:
        self._places = places_of(_asked(self.name, "w_head"), student, teacher) if w_head else None
        self.w_head, self.temperature = w_head, temperature

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's heads need not run twice."""
        return contextlib.nullcontext(SeenHead()) if self._places is None else self._places.capture()

    def losses(self, seen: SeenHead, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_defeat_head`, weighted, a float32 scalar; nothing where its weight is 0."""
        if self._places is None:
            return {}
        found = self._places.divergences(seen, teacher_features, self.temperature, "sum")
        parts = [
            (found.values * chosen).sum() / chosen.sum().clamp(min=1)
            for chosen in (found.positive, found.counted & ~found.positive)
        ]
        return {"loss_defeat_head": self.w_head * torch.stack(parts).sum()}


class ScoredHeads:
    r"""FRS between heads: how rich each cell is, for the loss of maps, and the loss of the class scores.

    .. math:: L = w_c \sum_l \frac{\sum m \, \mathrm{BCE}(\sigma(z_S), \sigma(z_T))}{\sum m}, \quad
        m = \max_c \sigma(z_T)

    z are the class logits of the dense heads (of two stages, the RPNs'), m the highest of a cell, over anchors and
    classes, and the cross-entropy sums over both. At `w_cls` 0 the student's head is not asked, and may be any.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        w_cls: w_c.
        reduction: `published` sum over anchors and classes, or `mean`.

    Raises:
        BadInput: the teacher's dense head does not score with sigmoids; or the two heads do not score the same places,
            and w_cls is above 0.

    References:
        Du et al., NeurIPS 2021, Eqs. 7-8; `duzhixing/FRS`.
    """

    name = "frs"

    def __init__(
        self, student: nn.Module, teacher: nn.Module, *, w_cls: float, reduction: Reduction = "published"
    ) -> None:
        self._teacher = dense_head("distill.host frs", teacher, "teacher")
        self._student = dense_pair(_asked(self.name, "w_cls"), student, teacher)[0] if w_cls else None
        self.w_cls, self.mean = w_cls, reduction == "mean"

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice; see `dense_capture`."""
        return contextlib.nullcontext(SeenHead()) if self._student is None else dense_capture(self._student)

    def losses(self, seen: SeenHead, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_frs_cls`, weighted, a float32 scalar, and leave the importance of cells in `seen`."""
        theirs = said_by(self._teacher, teacher_features)
        seen.importance = surest_of(theirs)
        if self._student is None:
            return {}
        parts = []
        with torch.autocast(teacher_features[0].device.type, enabled=False):
            ours, wanted = place_logits(locations(self._student, seen.outputs[0])), place_logits(theirs).sigmoid()
            entropy = F.binary_cross_entropy_with_logits(ours, wanted, reduction="none")
            for level, richness in zip(maps_of(entropy, theirs.levels), seen.importance, strict=True):
                parts.append(mean_over_cells(level, richness) / (level.shape[1] if self.mean else 1))
        return {"loss_frs_cls": self.w_cls * torch.stack(parts).sum()}


class RankedHeads:
    r"""RM and PFI between heads: where they disagree, for the loss of maps, and how they rank an object's places.

    .. math:: L = w_r \, \mathrm{mean}_o \, KL\big(\mathrm{softmax}_j z_T \,\|\, \mathrm{softmax}_j z_S\big)

    with j the places that the student's own assignment gives to object o, and z the logits of its class. Dense heads
    are compared; of two stages, those of the RPNs, whose one class is objectness. RECONSTRUCTION: see `PFI`.

    Args:
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        w_rank: w_r.

    Raises:
        BadInput: the two heads do not score the same places.

    References:
        Li et al., AAAI 2022.
    """

    name = "rmpfi"

    def __init__(self, student: nn.Module, teacher: nn.Module, *, w_rank: float) -> None:
        self._student, self._teacher = dense_pair("distill.host rmpfi", student, teacher)
        self.w_rank = w_rank

    def capture(self) -> contextlib.AbstractContextManager[SeenHead]:
        """Collect one `student.loss(...)`, so that the student's head need not run twice; see `dense_capture`."""
        return dense_capture(self._student)

    def losses(self, seen: SeenHead, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_rmpfi_rank`, weighted, a float32 scalar, and leave the importance of cells in `seen`."""
        theirs = said_by(self._teacher, teacher_features)
        with torch.autocast(teacher_features[0].device.type, enabled=False):
            ours = locations(self._student, seen.outputs[0])
            sides = [place_logits(one) for one in (ours, theirs)]
            levels = (maps_of(side, ours.levels) for side in sides)
            seen.importance = [disagreement_of(*level) for level in zip(*levels, strict=True)]
            positives = positives_of(self._student, seen.calls, ours)
            scores = [side.flatten(0, 1)[positives.places, positives.labels] for side in sides]
            ranked = rank_divergence(scores[0], scores[1], positives.objects, positives.count)
        return {"loss_rmpfi_rank": self.w_rank * ranked}


def _asked(name: str, weight: str) -> str:
    """Name the weight that asks for two heads that fit, for a person whose heads do not."""
    return f"distill.host {name} (distill.{name}.{weight} above 0)"
