"""NAD against a backdoor, and with it IKD's augmentation and adversarial examples."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.analyses.backdoor.digits import SIDE, WIDTHS, Images, Reader
from ikd.attack import AttackSettings
from ikd.augment import corrupt
from ikd.distill import Targets, build_loss

Loss = Callable[[Reader, Tensor, Tensor], Tensor]
"""Of a network, images [n, 1, H, W] and labels [n]."""
Alter = Callable[[Reader, Tensor, Tensor, torch.Generator], Tensor]
"""Changes images [n, 1, H, W] before the network learns from them."""


@dataclass(frozen=True)
class Plan:
    """How a network is trained: SGD with momentum 0.9 (Nesterov), weight decay 1e-4.

    Attributes:
        epochs: over all images.
        batch_size: images of a step.
        rate: learning rate.
        drop_after: epochs after which it is a tenth.
    """

    epochs: int
    batch_size: int = 64
    rate: float = 0.1
    drop_after: int = 1_000_000


ATTACK = AttackSettings(eps=0.0125 * 255, step=0.0125 * 255 / 4, steps=5, momentum=0.9, diversity_probability=0.0)


@dataclass(frozen=True)
class Defence:
    """What a defence does; Table 5 of IKD with the values of its code where they carry over.

    Attributes:
        betas: weights of NAD's loss, by stage (Li et al., ICLR 2021: 500, 1000, 1000).
        attack: MI-FGSM on half of each batch; eps 0.0125 of the range, as there. The code there steps by 0.05, four
            times eps; a step above eps is refused here.
        scale: least side of a crop that is brought back to the whole size.
        sigmas: noise of a crop of which more than `noise_from` is left, one of them, with probability `noise`.
        noise_from: see `sigmas`.
        noise: see `sigmas`.
    """

    betas: tuple[float, ...] = (500.0, 1000.0, 1000.0)
    attack: AttackSettings = ATTACK
    scale: float = 0.6
    sigmas: tuple[float, ...] = (0.08, 0.12)
    noise_from: float = 0.6
    noise: float = 0.3


def fitted(network: Reader, data: Images, plan: Plan, *, loss: Loss, alter: Alter | None, seed: int) -> Reader:
    """Train a copy of a network.

    Args:
        network: to begin with; stays as it is.
        data: to learn from.
        plan: how.
        loss: that is minimised.
        alter: changes the images of each step; None leaves them.
        seed: of the order of images, and of what `alter` draws.

    Returns:
        The copy, ready to predict.
    """
    trained, generator = copy.deepcopy(network).train(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(trained.parameters(), lr=plan.rate, momentum=0.9, weight_decay=1e-4, nesterov=True)
    for epoch in range(plan.epochs):
        if epoch == plan.drop_after:
            for group in optimiser.param_groups:
                group["lr"] = plan.rate / 10
        for places in torch.split(torch.randperm(len(data), generator=generator), plan.batch_size):
            batch = data.part(places)
            images = batch.images if alter is None else alter(trained, batch.images, batch.labels, generator)
            optimiser.zero_grad()
            value: Any = loss(trained, images, batch.labels)
            value.backward()
            optimiser.step()
    return trained.eval()


def cross_entropy(network: Reader, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy, a scalar."""
    return F.cross_entropy(network(images), labels)


def with_attention(teacher: Reader, betas: tuple[float, ...]) -> Loss:
    """Return cross entropy and NAD's loss from a teacher, a term a stage (Li et al., ICLR 2021; methods of IKD)."""
    terms = [build_loss("nad", width, width, beta=beta, p=2) for width, beta in zip(WIDTHS, betas, strict=True)]
    nothing = Targets([], [], (SIDE, SIDE))

    def loss(network: Reader, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = teacher.maps(images)
        maps = network.maps(images)
        apart = [term(own, other, nothing) for term, own, other in zip(terms, maps, wanted, strict=True)]
        return F.cross_entropy(network.read(maps), labels) + torch.stack(apart).sum()

    return loss


def adversarial(settings: AttackSettings, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return adversarial copies of images by MI-FGSM (Dong et al., 2018), of at most eps, inside 0..255.

    The same steps as `ikd.attack.DIFGSM`, of a classifier's cross entropy and without diverse inputs. The network
    stays as it is.

    Args:
        settings: of the attack; its step is at most eps.
        network: gives logits; is asked as at test time.
        images: [N, C, H, W], grey levels.
        labels: [N].
    """
    training = network.training
    network.eval()
    found, momentum = images, torch.zeros_like(images)
    for _ in range(settings.steps):
        pixels = found.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(pixels), labels, reduction="sum"), pixels)
        size = gradient.abs().sum((1, 2, 3), keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
        momentum = settings.momentum * momentum + gradient / size
        delta = (found + settings.step * momentum.sign() - images).clamp(-settings.eps, settings.eps)
        found = (images + delta).clamp(0, 255)
    network.train(training)
    return found.detach()


def cropped(defence: Defence, images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop each image to a window of its own, bring that back to the whole size, and add noise to the larger ones."""
    made = []
    for image in images:
        height, width = image.shape[1:]
        scale, down, right, coin, which = torch.rand(5, generator=generator).tolist()
        ratio = defence.scale + (1 - defence.scale) * scale
        sides = max(1, round(ratio * height)), max(1, round(ratio * width))
        top, left = int(down * (height - sides[0] + 1)), int(right * (width - sides[1] + 1))
        window = image[None, :, top : top + sides[0], left : left + sides[1]]
        whole = F.interpolate(window, size=(height, width), mode="bilinear", align_corners=False)[0]
        if ratio > defence.noise_from and coin < defence.noise:
            whole = _noisy(whole, defence.sigmas[int(which * len(defence.sigmas))], generator)
        made.append(whole)
    return torch.stack(made)


def _noisy(image: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Return an image [C, H, W] with IKD's noise, drawn from a torch generator."""
    state = np.random.get_state()
    np.random.seed(int(torch.randint(0, 2**31, (), generator=generator)))
    try:
        noisy = corrupt(image.permute(1, 2, 0).numpy().astype(np.uint8), sigma)
    finally:
        np.random.set_state(state)
    return torch.from_numpy(noisy).permute(2, 0, 1).to(image)


def as_ikd(defence: Defence, *, augment: bool, attack: bool) -> Alter:
    """Return what IKD does to a batch: crops and noise, and adversarial copies in place of its first half."""

    def alter(network: Reader, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        changed = cropped(defence, images, generator) if augment else images
        if not attack:
            return changed
        half = len(images) // 2
        return torch.cat([adversarial(defence.attack, network, images[:half], labels[:half]), changed[half:]])

    return alter
