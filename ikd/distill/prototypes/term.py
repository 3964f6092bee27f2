"""What is distilled by prototypes: the global and the feature loss of Global Knowledge on all levels of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets, full_precision
from ikd.distill.prototypes.relation import (
    Coefficients,
    Prototypes,
    Relations,
    feature_loss,
    global_loss,
    painted,
    pooled,
    relations,
)

EMPTY = -1
"""Class of a row that no prototype fills."""


class PrototypeTerm(nn.Module):
    """Holds the prototypes of each level, and compares batches by them.

    Prototypes are buffers of one shape, filled from the front, so that a checkpoint holds them and a trial that goes on
    between two refreshes has those that it had.

    Args:
        student_channels: of each level that is distilled, finest first.
        teacher_channels: of the same.
        classes: number of classes.
        count: K, largest number of prototypes of a class.
        global_weight: of L_glob, a mean over levels.
        feature_weight: of L_feat; where it is above 0 there are adapters, 3x3 convolution and ReLU, student to teacher.
        background_weight: c_bg, of cells outside of boxes within L_feat.
        coefficients: see `relations`.
        strength: lambda, for the coefficients `ridge`.
        over_levels: L_feat is their sum, as published for one-stage detectors, or their mean, as for two-stage ones.

    Attributes:
        attenuation: of both losses; what trains sets it, 1 - epoch / epochs.
    """

    def __init__(  # noqa: PLR0913 (what a recipe says)
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        *,
        classes: int,
        count: int,
        global_weight: float,
        feature_weight: float,
        background_weight: float,
        coefficients: Coefficients,
        strength: float,
        over_levels: Literal["sum", "mean"],
    ) -> None:
        super().__init__()
        self.global_weight, self.feature_weight, self.background = global_weight, feature_weight, background_weight
        self.coefficients, self.strength, self.over_levels = coefficients, strength, over_levels
        self.attenuation = 1.0
        sides = list(zip(student_channels, teacher_channels, strict=True))
        for level, (ours, theirs) in enumerate(sides):
            self.register_buffer(f"student_{level}", torch.zeros(classes * count, ours))
            self.register_buffer(f"teacher_{level}", torch.zeros(classes * count, theirs))
            self.register_buffer(f"labels_{level}", torch.full((classes * count,), EMPTY))
        adapted = sides if feature_weight else []
        self.adapters = nn.ModuleList(
            nn.Sequential(nn.Conv2d(ours, theirs, 3, padding=1), nn.ReLU()) for ours, theirs in adapted
        )
        self.levels = len(sides)
        self._held: dict[int, int] = {}

    def hold(self, level: int, prototypes: Prototypes) -> None:
        """Take new prototypes for a level in the place of those it had.

        Args:
            level: its place among those that are distilled.
            prototypes: at most as many as there is room for.
        """
        for name in ("student", "teacher", "labels"):
            buffer, values = self.get_buffer(f"{name}_{level}"), getattr(prototypes, name)
            buffer.fill_(EMPTY if name == "labels" else 0)
            buffer[: len(values)] = values
        self._held[level] = len(prototypes.labels)

    def held(self, level: int) -> Prototypes:
        """Return the prototypes of a level; none before the first refresh."""
        if level not in self._held:  # once after a checkpoint was loaded: it waits for a GPU
            self._held[level] = int((self.get_buffer(f"labels_{level}") != EMPTY).sum())
        names = (f"teacher_{level}", f"student_{level}", f"labels_{level}")
        return Prototypes(*(self.get_buffer(name)[: self._held[level]] for name in names))

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        self._held.clear()
        super()._load_from_state_dict(*arguments, **keywords)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets) -> dict[str, Tensor]:
        """Return the weighted, attenuated losses of a batch.

        Args:
            student: maps, [N, C_s, H, W] each.
            teacher: maps of the same levels and sizes, [N, C_t, H, W] each.
            targets: boxes and classes; with `confidence`, losses are means over images, as each counts.

        Returns:
            `prototypes_global` where its weight is above 0, `prototypes_feature` likewise: scalars.
        """
        return self.losses(self.compare(student, teacher, targets), student, teacher, targets)

    def compare(self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets) -> list[Relations]:
        """Return how the boxes of a batch stand to the prototypes, level by level; arguments as of `forward`."""
        labels = torch.cat([one.long() for one in targets.labels])
        with torch.autocast(student[0].device.type, enabled=False):
            return [self._relations(level, student, teacher, labels, targets) for level in range(self.levels)]

    def reliability(self, found: Sequence[Relations]) -> Tensor:
        """Return the reliability of each box, [n] in 0..1: the mean over levels."""
        return torch.stack([one.reliability for one in found]).mean(dim=0)

    def losses(
        self, found: Sequence[Relations], student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets
    ) -> dict[str, Tensor]:
        """Return the losses of `forward` from what `compare` found; images that count unequally are compared alone."""
        if targets.confidence is not None:
            return self._counted(student, teacher, targets, targets.confidence)
        losses: dict[str, Tensor] = {}
        with torch.autocast(student[0].device.type, enabled=False):
            if self.global_weight:
                mean = torch.stack([global_loss(one) for one in found]).mean()
                losses["prototypes_global"] = self.attenuation * self.global_weight * mean
        if self.feature_weight:
            parts = torch.stack(
                [self._feature(level, student, teacher, found, targets) for level in range(self.levels)]
            )
            whole = parts.sum() if self.over_levels == "sum" else parts.mean()
            losses["prototypes_feature"] = self.attenuation * self.feature_weight * whole
        return losses

    def _counted(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], targets: Targets, confidence: Tensor
    ) -> dict[str, Tensor]:
        alone = []
        for image in range(len(targets.boxes)):
            ours, theirs = ([one[image : image + 1] for one in side] for side in (student, teacher))
            alone.append(self(ours, theirs, targets.of(image)))
        return {name: (confidence * torch.stack([one[name] for one in alone])).mean() for name in alone[0]}

    def _relations(
        self, level: int, student: Sequence[Tensor], teacher: Sequence[Tensor], labels: Tensor, targets: Targets
    ) -> Relations:
        theirs = pooled(full_precision(teacher[level]).detach(), targets)
        ours = pooled(full_precision(student[level]), targets)
        held = self.held(level)
        return relations(theirs, ours, labels, held, coefficients=self.coefficients, strength=self.strength)

    def _feature(
        self,
        level: int,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        found: Sequence[Relations],
        targets: Targets,
    ) -> Tensor:
        adapted, other = self.adapters[level](student[level]), teacher[level]
        with torch.autocast(other.device.type, enabled=False):
            size = (other.shape[2], other.shape[3])
            omega = painted(found[level].reliability, targets, size)
            return feature_loss(full_precision(adapted), full_precision(other), omega, background=self.background)
