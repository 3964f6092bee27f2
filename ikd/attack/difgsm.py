"""Momentum iterative sign attack with diverse inputs, against a frozen detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ikd.attack.diversity import Placement, draw_placement, place_images, place_sample
from ikd.attack.gradient import prepared_samples, supervised_loss
from ikd.attack.losses import feature_distance
from ikd.attack.preprocess import PixelNormaliser, per_image_input, valid_mask
from ikd.attack.published import published_attack
from ikd.attack.repeated import without_repetition
from ikd.attack.settings import AttackSettings
from ikd.errors import refuse


@dataclass(frozen=True, kw_only=True)
class DIFGSM(AttackSettings):
    """Diverse-input momentum FGSM (methods of Dong et al. 2018 and Xie et al. 2019 as IKD uses them, section AdvFeat).

    For each image, with x its pixels and D a random shrink and shift that moves the annotations too::

        G_j = grad_x L(teacher(D(x_{j-1})), truth),   g_j = momentum * g_{j-1} + G_j / ||G_j||_1
        x_j = clip_[0, 255]( x + clip_[-eps, eps]( x_{j-1} + step * sign(g_j) - x ) )

    The result of an image depends on the image, its annotations, its id and `seed`, not on the batch it is in.

    The settings are those of `AttackSettings`.
    """

    def __call__(self, teacher: Any, images: Tensor, data_samples: Sequence[Any]) -> Tensor:
        """Attack a batch.

        Args:
            teacher: a frozen detector (`ikd.detectors.freeze`).
            images: [N, 3, H, W] pixels 0..255 in the order in which the teacher's preprocessor receives them (BGR),
                before normalisation, zero-padded below and right; H and W multiples of the preprocessor's
                `pad_size_divisor`.
            data_samples: N mmdet data samples: `gt_instances` (bboxes xyxy in input pixels, labels, masks for mask
                models), `img_shape` (valid height and width) and `img_id` in the metainfo.

        Returns:
            The perturbation [N, 3, H, W] in pixels: at most `eps`, zero on the padding, images + it inside 0..255. With
            `published` the padding is perturbed too, and `eps` is relative to the contrast of the image.

        Raises:
            BadInput: a batch whose size is no multiple of the divisor, or a teacher without a loss to attack.
        """
        assert not any(weight.requires_grad for weight in teacher.parameters()), "freeze the teacher first"
        images = images.float()
        if self.published:
            return published_attack(self, teacher, images, data_samples)
        return _Batch(self, teacher, images, data_samples).attack()


class _Batch:
    """One batch under attack."""

    def __init__(self, attack: DIFGSM, teacher: Any, images: Tensor, samples: Sequence[Any]) -> None:
        self.attack_, self.teacher, self.images = attack, teacher, images
        self.normaliser = PixelNormaliser(teacher)
        self.sizes = [tuple(sample.img_shape[:2]) for sample in samples]
        shape = (int(images.shape[2]), int(images.shape[3]))
        if any(side % self.normaliser.divisor for side in shape):
            refuse("attack: images", f"must have sides of multiples of {self.normaliser.divisor} px", shape)
        self.valid = valid_mask(images, self.sizes)
        self.samples = prepared_samples(samples, shape, per_image_input(self.sizes, self.normaliser.divisor))
        self.generators = [attack.generator(sample.img_id) for sample in samples]

    def attack(self) -> Tensor:
        """Return the perturbation [N, 3, H, W]."""
        with without_repetition(self.teacher, self.samples, classes_alone=self.attack_.loss == "cls"):
            return self._attack()

    def _attack(self) -> Tensor:
        settings = self.attack_
        momentum = torch.zeros_like(self.images)
        adversarial = self._start()
        for _ in range(settings.steps):
            gradient = self._gradient(adversarial)
            norm = gradient.abs().sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
            momentum.mul_(settings.momentum).add_(gradient.div_(norm))
            adversarial = self._project(momentum.sign().mul_(settings.step).add_(adversarial))
        return adversarial - self.images

    def _project(self, adversarial: Tensor) -> Tensor:
        """Change images to the nearest that differ by at most eps, lie in 0..255 and are clean on the padding."""
        delta = adversarial.sub_(self.images).clamp_(-self.attack_.eps, self.attack_.eps).mul_(self.valid)
        return delta.add_(self.images).clamp_(0, 255)

    def _start(self) -> Tensor:
        if self.attack_.loss != "feature_distance":
            return self.images
        shape = self.images.shape[1:]
        noise = [torch.randint(0, 2, shape, generator=generator) * 2.0 - 1.0 for generator in self.generators]
        return self._project(self.images + self.attack_.step * torch.stack(noise).to(self.images))

    def _gradient(self, adversarial: Tensor) -> Tensor:
        """Return the gradient of the attacked loss with respect to the pixels, zero on the padding."""
        settings = self.attack_
        places = [
            draw_placement(
                size,
                generator,
                probability=settings.diversity_probability,
                min_scale=settings.diversity_min_scale,
            )
            for size, generator in zip(self.sizes, self.generators, strict=True)
        ]
        seeds = [int(torch.randint(0, 2**31, (), generator=generator)) for generator in self.generators]
        pixels = adversarial.detach().requires_grad_(True)
        with torch.enable_grad():
            loss = self._loss(pixels, places, seeds)
            (gradient,) = torch.autograd.grad(loss, pixels)
        return gradient.mul_(self.valid)

    def _loss(self, pixels: Tensor, places: Sequence[Placement | None], seeds: Sequence[int]) -> Tensor:
        inputs = self._inputs(pixels, places)
        if self.attack_.loss == "feature_distance":
            with torch.no_grad():
                clean = self.teacher.extract_feat(self._inputs(self.images, places))
            return feature_distance(self.teacher.extract_feat(inputs), clean)
        samples = [place_sample(sample, place) for sample, place in zip(self.samples, places, strict=True)]
        return supervised_loss(self.teacher, inputs, samples, self.attack_.loss, seeds)

    def _inputs(self, pixels: Tensor, places: Sequence[Placement | None]) -> Tensor:
        return place_images(self.normaliser.forward(pixels, self.valid), places, self.normaliser.pad_value)
