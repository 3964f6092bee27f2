"""Adversarial copies crafted while training, in place of stored ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ikd.attack.crafting import crafted
from ikd.attack.difgsm import DIFGSM
from ikd.attack.images import batch_of
from ikd.attack.preprocess import PixelNormaliser
from ikd.evaluation import equal_sizes


def adversarial_copies(
    attack: DIFGSM, teacher: nn.Module, unaltered: Mapping[str, Sequence[Any]], *, batch_size: int
) -> list[Tensor]:
    """Craft the adversarial images of a training batch on the teacher's device.

    Each image is attacked as a store would have it: as resized, with all of its annotations, in a batch of one size,
    its random numbers drawn from its own id. What was done to the sample since is then done to the result. Whole grey
    levels are added, as a store holds them; they differ from a stored perturbation only where the sign of a gradient of
    about zero hangs on the batch in which it was computed.

    Args:
        attack: the attack.
        teacher: the frozen detector, on its device.
        unaltered: what `ikd.augment.AttachUnaltered` kept of each sample: `inputs` and `data_samples`.
        batch_size: images at a time.

    Returns:
        By sample, uint8 [3, H, W], shaped like the augmented clean image.
    """
    device, divisor = next(teacher.parameters()).device, PixelNormaliser(teacher).divisor
    pairs = zip(unaltered["inputs"], unaltered["data_samples"], strict=True)
    items = [{"inputs": image, "data_samples": sample, "place": place} for place, (image, sample) in enumerate(pairs)]
    found: dict[int, Tensor] = {}
    for group in equal_sizes(items, batch_size):
        batch = batch_of(group, divisor).to(device)
        height, width = batch.size
        clean = batch.pixels[:, :, :height, :width].to(torch.int16)
        copies = (clean + crafted(attack, teacher, batch)).clamp(0, 255).to(torch.uint8)
        for item, copy in zip(group, copies, strict=True):
            found[item["place"]] = item["data_samples"].geometry(copy)
    return [found[place] for place in range(len(items))]
