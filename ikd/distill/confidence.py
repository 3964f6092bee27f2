"""Cosine confidence (CCD; Li et al., ACCV 2022): how much an altered image counts, by what the teacher makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.distill.functional import Targets, full_precision


def pooled(features: Tensor) -> Tensor:
    """Return the mean of a map over its cells, [N, C, H, W] -> [N, C], in float32 at least."""
    return full_precision(features).mean(dim=(2, 3))


@torch.no_grad()
def cosine_confidence(before: Tensor, after: Tensor) -> Tensor:
    r"""Return :math:`1 + \cos(\bar T(x), \bar T(x'))` of each image: 2 where altering it changed nothing.

    The authors take the teacher's logits of a classifier; for detection features stand in, averaged over cells. It is a
    constant: nothing is trained by it.

    Args:
        before: averages of the teacher's map of the images as they were, [N, C].
        after: of the altered images, [N, C].

    Returns:
        [N], in 0..2; 1 where a map is 0 all over.

    References:
        Li et al., What Role Does Data Augmentation Play in Knowledge Distillation?, ACCV 2022; `liwei-group/CCD`.
    """
    return 1 + F.cosine_similarity(before, after, dim=1)


@dataclass(frozen=True)
class Before:
    """What the teacher made of a batch before it was altered.

    Attributes:
        taps: its maps at the FPN convolutions, averaged over cells, [N, C] each.
        outputs: those of its neck on the levels that are distilled.
        rows: the images that were altered.
        levels: of the teacher that are distilled.
    """

    taps: Sequence[Tensor]
    outputs: Sequence[Tensor]
    rows: Sequence[int]
    levels: Sequence[int]

    def of_altered(self, after: Sequence[Tensor]) -> list[Tensor]:
        """Return how much each image counts on each of the levels, [N]: 1 where it was not altered.

        Args:
            after: the teacher's maps at the FPN convolutions of the images at hand.
        """
        if not after:
            return []
        marks = torch.zeros(len(after[0]), dtype=torch.bool, device=after[0].device)
        marks[list(self.rows)] = True
        found = [cosine_confidence(self.taps[level], pooled(after[level])) for level in self.levels]
        return [torch.where(marks, one, 1.0) for one in found]

    def of_copies(self, after: Sequence[Tensor]) -> list[Tensor]:
        """Return how much each adversarial copy counts on each of the levels, [N].

        Args:
            after: outputs of the teacher's neck for the copies, on the levels that are distilled.
        """
        return [cosine_confidence(one, pooled(other)) for one, other in zip(self.outputs, after, strict=True)]


def altered_rows(data: dict[str, Any]) -> list[int]:
    """Return which images of a batch were altered in their pixels: by joint augmentation, or by noise.

    With `enhanced` copies (`distill.me.form: added`) the noise is in those.
    """
    facts = [sample.metainfo for sample in data["data_samples"]]
    noisy = "enhanced" not in data
    return [row for row, one in enumerate(facts) if one.get("joint") or (noisy and one.get("altered") == "noise")]


def image_by_image(loss: Callable[[int, Targets], Tensor], targets: Targets, confidence: Tensor) -> Tensor:
    """Return the mean over images of confidence times the loss of each.

    Args:
        loss: of one image, by its place and what is known of it.
        targets: of the batch.
        confidence: [N].
    """
    losses = [loss(image, targets.of(image)) for image in range(len(targets.boxes))]
    return (confidence * torch.stack(losses)).mean()


def with_confidence(targets: Sequence[Targets], confidence: Sequence[Tensor]) -> list[Targets]:
    """Tell the targets of each level how much each image counts there."""
    return [replace(known, confidence=one) for known, one in zip(targets, confidence, strict=True)]
