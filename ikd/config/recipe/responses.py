"""The response terms: losses between what two heads predict, each beside a host or alone (`distill.response`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from ikd.config.recipe.instance_hosts import CrossKd, Vkd
from ikd.config.recipe.loss_section import Term
from ikd.config.section import NonNegative, Positive, Probability, Section, Weight


class ResponseTerm(Term):
    """One loss between the outputs of two heads."""

    between_heads = True
    reads_maps = False

    enabled: bool = False
    """Switch."""


class Bckd(ResponseTerm):
    """BCKD (Yang et al., ICCV 2023): class scores and decoded boxes at every place of two dense heads."""

    w_cls: Weight = 1.0
    """Weight of the classes; 0.1 to 4."""
    w_loc: Weight = 4.0
    """Weight of the boxes; 0.4 to 16."""
    gamma: NonNegative = 1.0
    """Power of the difference of scores that weighs the classes: 0, 0.5, 1 or 2; at 0 it is never 0."""
    scores: Literal["auto", "class", "joint"] = "auto"
    """What is compared: scores of classes, or those times centerness or objectness; `auto` is joint where one head
    alone has such a quality."""
    published: bool = False
    """Leave out the levels without a positive in the batch, as the authors' code does."""


class Logits(ResponseTerm):
    """Plain class scores of two dense heads, the arm of an ablation."""

    w_cls: Weight = 1.0
    """Weight; 0.1 to 4."""
    gamma: NonNegative = 0.0
    """Power of the difference of scores that weighs places; 0 is the plain cross-entropy."""
    scores: Literal["auto", "class", "joint"] = "auto"
    """As of bckd."""


class Ld(ResponseTerm):
    """Localisation distillation (Zheng et al., CVPR 2022): distance distributions of two heads with equal bins."""

    w: Weight = 0.5
    """Weight at positives; 0.05 to 5 (published 0.25 with reduction published)."""
    temperature: Positive = 10.0
    """Temperature of the distributions; 3 to 20."""
    w_vlr: Weight = 0.5
    """Weight in the valuable region around objects; 0.05 to 5, 0 leaves it out."""
    vlr_gamma: Probability = 0.25
    """Share of an object's threshold at which its region begins: 0, 0.25 or 0.5."""
    vlr_weight: Literal["iou", "mask"] = "iou"
    """How places of the region count: by overlap, as the code, or alike, as the paper."""
    w_kd: Weight = 0.0
    """Weight of the classes at positives, as softmaxes; 0.5 to 20 (published 10), 0 leaves them out."""
    kd_temperature: Positive = 2.0
    """Temperature of those classes."""
    reduction: Literal["mean", "published"] = "mean"
    """Weighted mean over places, or the published sum, which grows with batch and objects."""
    published: bool = False
    """Regions by common over anchor area, as the authors' code has it."""


class DenseTeacher(ResponseTerm):
    """Dense Teacher (Zhou et al., ECCV 2022): the teacher's surest places as targets, the rest as background."""

    ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """Share of places that are targets; 0.003 to 0.1."""
    w_cls: Weight = 4.0
    """Weight of the classes; 0.4 to 16 (published 4; 2 with all of COCO)."""
    w_box: Weight = 1.0
    """Weight of the boxes; 0.1 to 4."""
    w_quality: Weight = 1.0
    """Weight of centerness or objectness, where both heads have it; 0.1 to 4."""


class KdDetr(ResponseTerm):
    """KD-DETR (Wang et al., CVPR 2024): queries that two DETRs of one class both decode."""

    beside = ("enabled", "specific", "general")

    specific: bool = True
    """Compare the teacher's own queries."""
    general: Annotated[int, Field(ge=0)] = 300
    """Compare so many random queries, drawn anew each step: 100, 300 or 900; 0 is off."""
    w_cls: Weight = 1.0
    """Weight of the classes; 0.1 to 10."""
    w_l1: Weight = 5.0
    """Weight of the coordinates; 0.5 to 25."""
    w_giou: Weight = 2.0
    """Weight of the overlaps; 0.2 to 10."""
    temperature: Positive = 10.0
    """Temperature of `kl`: 2, 5 or 10."""
    gamma: NonNegative = 1.0
    """Power of the difference of scores that weighs `bce`."""
    class_loss: Literal["bce", "kl"] = "bce"
    """Loss of the classes; heads with a softmax take `kl`, and `published` does."""
    layer: Literal["last", "same"] = "last"
    """The teacher's layer that a layer of the student follows."""
    published: bool = False
    """The authors' form: classes by a divergence summed over queries, boxes over the sum of weights, however small."""


class VkdBeside(Vkd):
    """Vanilla KD beside another host."""

    enabled: bool = False
    """Switch."""


class CrossKdBeside(CrossKd):
    """CrossKD beside another host, of dense heads or of two stages."""

    enabled: bool = False
    """Switch."""


RESPONSES: Mapping[str, type[Term]] = {
    "bckd": Bckd,
    "logits": Logits,
    "ld": Ld,
    "dense_teacher": DenseTeacher,
    "kd_detr": KdDetr,
    "vkd": VkdBeside,
    "crosskd": CrossKdBeside,
}
"""Response terms of a recipe, by name."""
HOSTS_BESIDE = ("vkd", "crosskd")
"""Those of them that are hosts too, and stand beside another."""


class Response(Section):
    """Losses between what the two heads predict, beside the host or with none; several act at once."""

    bckd: Bckd = Bckd()
    """Class scores and boxes, weighed by how much the classes differ."""
    logits: Logits = Logits()
    """Plain class scores."""
    ld: Ld = Ld()
    """Distance distributions, of GFL heads."""
    dense_teacher: DenseTeacher = DenseTeacher()
    """The teacher's surest places."""
    kd_detr: KdDetr = KdDetr()
    """Queries that two DETRs both decode."""
    vkd: VkdBeside = VkdBeside()
    """Class scores at the same places or regions, where another host compares maps."""
    crosskd: CrossKdBeside = CrossKdBeside()
    """The student's features through the teacher's head, where another host compares maps."""

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the terms that are switched on."""
        return tuple(name for name in RESPONSES if getattr(self, name).enabled)
