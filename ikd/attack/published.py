"""The attack as the authors' code runs it (`JWLiang007/IKD:tools/ta_GT.py`, `tools/adversarial/`).

Its differences from `DIFGSM` proper: strength and bounds from the range of the normalised, padded image; a square
diversity transform that stretches the image and leaves the boxes; no list-valued loss in mask models; padding
attacked; batch 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ikd.attack.gradient import prepared_samples, seeded, teacher_loss
from ikd.attack.losses import published_loss
from ikd.attack.preprocess import PixelNormaliser, per_image_input, valid_mask
from ikd.attack.repeated import without_repetition
from ikd.attack.settings import AttackSettings


def published_attack(settings: AttackSettings, teacher: Any, images: Tensor, samples: Sequence[Any]) -> Tensor:
    """Return the perturbation [N, 3, H, W] in pixels, each image attacked alone inside its own padding."""
    normaliser = PixelNormaliser(teacher)
    sizes = [tuple(sample.img_shape[:2]) for sample in samples]
    padded = per_image_input(sizes, normaliser.divisor)
    valid = valid_mask(images, sizes)
    delta = torch.zeros_like(images)
    for index, (height, width) in enumerate(padded):
        frame = (slice(index, index + 1), slice(None), slice(0, height), slice(0, width))
        inputs = normaliser.forward(images[frame], valid[frame])
        sample = prepared_samples(samples[index : index + 1], (height, width), padded[index : index + 1])
        with without_repetition(teacher, sample, classes_alone=True):
            difference = _attack_one(settings, teacher, inputs, sample)
        delta[frame] = normaliser.pixel_difference(difference)
    return delta


def _attack_one(settings: AttackSettings, teacher: Any, clean: Tensor, sample: list[Any]) -> Tensor:
    """Return the perturbation [1, 3, H, W] of one normalised, padded image."""
    low, high = clean.amin((2, 3), keepdim=True), clean.amax((2, 3), keepdim=True)  # [1, 3, 1, 1]
    reach = float((high - low).max())
    eps, step = settings.eps / 255 * reach, settings.step / 255 * reach
    generator = settings.generator(sample[0].img_id)
    momentum, adversarial = torch.zeros_like(clean), clean
    for _ in range(settings.steps):
        inputs = adversarial.detach().requires_grad_(True)
        seed = int(torch.randint(0, 2**31, (), generator=generator))
        with torch.enable_grad(), seeded(seed, clean.device):
            seen = square_diversity(
                inputs,
                generator,
                probability=settings.diversity_probability,
                min_scale=settings.diversity_min_scale,
            )
            loss = published_loss(teacher_loss(teacher, seen, sample), has_masks="masks" in sample[0].gt_instances)
            (gradient,) = torch.autograd.grad(loss, inputs)
        norm = gradient.abs().sum().clamp_min(torch.finfo(gradient.dtype).tiny)
        momentum = settings.momentum * momentum + gradient / norm
        delta = (adversarial + step * momentum.sign() - clean).clamp(-eps, eps)
        adversarial = torch.minimum(torch.maximum(clean + delta, low), high)
    return adversarial - clean


def square_diversity(inputs: Tensor, generator: torch.Generator, *, probability: float, min_scale: float) -> Tensor:
    """Resize [1, 3, H, W] to r x r, r in {floor(min_scale W)..W-1}, zero-pad to W x W at a random place; or nothing."""
    coin, size, down, right = torch.rand(4, generator=generator).tolist()
    if coin >= probability:
        return inputs
    width = inputs.shape[-1]
    least = min(int(min_scale * width), width - 1)
    side = least + int(size * (width - least))
    small = F.interpolate(inputs, size=(side, side), mode="bilinear", align_corners=False)
    rest = width - side
    top, left = int(down * (rest + 1)), int(right * (rest + 1))
    return F.pad(small, (left, rest - left, top, rest - top))
