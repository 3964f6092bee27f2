"""What is distilled in one stage, as the model of a trial holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ikd.detectors import TapChoice
from ikd.distill.conditional import InstanceDecoder
from ikd.distill.labels import NAME, LabelTerm
from ikd.distill.losses.adapted import AdaptedLoss, AdaptedPyramid
from ikd.distill.prototypes import PrototypeTerm
from ikd.distill.response import Between, QueryTerm, ResponseTerms, ScoreHeads, SoftTargets

Adapted = AdaptedLoss | AdaptedPyramid
Batch = dict[str, Any]
Maps = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Student's and teacher's maps, level by level."""


@dataclass(frozen=True)
class Terms:
    """What is distilled in one stage.

    Attributes:
        student_levels: indices of the student's levels that a teacher's level has the stride of, finest first.
        teacher_levels: those of the teacher.
        taps: where student and teacher are read.
        student_outputs: outputs of the student's neck that those levels belong to, which are the levels themselves
            where nothing is said; None where a level belongs to none.
        teacher_outputs: those of the teacher's.
        host: name of the host loss and its module for each of those levels, on the maps that are read; one for all of
            them where it is a loss of the whole pyramid.
        standardised: positions among those levels where the host sees standardised maps (SFA).
        alignment: SFA's extra loss by position, on the maps that are read.
        adversarial: loss for each of those levels on the adversarial copies, on the neck outputs; on
            the maps that are read where these are an encoder's or listed.
        statistics_follow: the student's running statistics follow the adversarial copies too.
        heads: what the host compares of the two heads' predictions; None where it reads none.
        decoder: what tells the host where to look in the teacher's maps, and learns that beside the student.
        prototypes: what is distilled by prototypes, on the maps of those levels.
        response: loss of the class scores that prototypes weigh; None where there is none.
        labels: how the student's own loss on photographs without labels counts; None where there are none.
        soft: loss towards the teacher's boxes as soft targets, of all images; None where there is none.
        beside: what else compares the two heads' predictions as a host would, beside the host.
        predictions: losses between what dense heads predict, beside the host; None where there are none.
        queries: loss between what two DETRs say of the same queries; None where there is none.
        coupled: prototypes act within the host.
        resized: levels may differ in size; the student's map is then brought to that of the teacher's.
        confident: the terms, `host`, `sfa`, `prototypes` and `adversarial`, in which altered images count by cosine
            confidence.
        agreement: how fast, from where and to where factors on the terms follow their agreement with detection; None
            where none do.
        measured: how hard each term pulls is measured on the first batch of an epoch.
        cells_factor: what the weights of sums were multiplied by for levels that are left out; None where none acts.
        said: what a person is told of the levels; empty where there is nothing to tell.
    """

    student_levels: Sequence[int] = ()
    teacher_levels: Sequence[int] = ()
    taps: tuple[TapChoice, TapChoice] = ("auto", "auto")
    student_outputs: Sequence[int | None] | None = None
    teacher_outputs: Sequence[int | None] | None = None
    host: tuple[str, Sequence[Adapted]] | None = None
    standardised: frozenset[int] = frozenset()
    alignment: Mapping[int, Adapted] = field(default_factory=dict)
    adversarial: Sequence[Adapted] | None = None
    statistics_follow: bool = False
    heads: Between | None = None
    decoder: InstanceDecoder | None = None
    prototypes: PrototypeTerm | None = None
    response: ScoreHeads | None = None
    labels: LabelTerm | None = None
    soft: SoftTargets | None = None
    beside: Sequence[Between] = ()
    predictions: ResponseTerms | None = None
    queries: QueryTerm | None = None
    coupled: bool = False
    resized: bool = False
    confident: frozenset[str] = frozenset()
    agreement: Mapping[str, float] | None = None
    measured: bool = False
    cells_factor: float | None = None
    said: str = ""

    @property
    def names(self) -> list[str]:
        """Names of all that may be distilled, as losses are told apart."""
        found = [self.heads.name] if self.heads else []
        found += [self.host[0], "me"] if self.host else []
        found += ["sfa"] if self.alignment else []
        found += ["prototypes_global", "prototypes_feature"] if self.prototypes else []
        found += [self.response.name] if self.response else []
        found += [NAME] if self.labels or self.soft else []
        found += self.between_heads
        return list(dict.fromkeys([*found, *(["adversarial"] if self.adversarial is not None else [])]))

    @property
    def between_heads(self) -> list[str]:
        """Names of the response terms."""
        beside = [one.name for one in self.beside]
        found = [*beside, *(self.predictions.names if self.predictions else ())]
        return [*found, *([self.queries.name] if self.queries else ())]


NOTHING = Terms()
"""What a student without a teacher has."""


@dataclass(frozen=True)
class Taught:
    """A teacher and what is distilled from it.

    Attributes:
        teacher: frozen mmdet detector, or None.
        terms: what is distilled.
        name: of the teacher, by which its losses are told from those of others; empty where it is alone.
        weight: of its terms.
    """

    teacher: nn.Module | None
    terms: Terms
    name: str
    weight: float
