"""Focal and Global Knowledge Distillation (Yang et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets, background_mask, foreground_mask
from ikd.distill.losses.fgd_sums import Sums, attention_pool, attentions, sums
from ikd.distill.losses.weights import UNSCALED, Normaliser, Reduction, Scale


class _GlobalContext(nn.Module):
    """R(X) - X of FGD's global term: an attention-pooled context through a bottleneck, one vector per image.

    The last layer starts at zero, so that the term starts as the plain squared distance (FGD, Eq. 10).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // 2)
        self.position = nn.Conv2d(channels, 1, 1).requires_grad_(False)
        self.reduce = nn.Linear(channels, middle)
        self.norm = nn.LayerNorm(middle)
        self.expand = nn.Linear(middle, channels)
        nn.init.kaiming_normal_(self.position.weight, mode="fan_in", nonlinearity="relu")
        self.position.weight.requires_grad_()  # the weight alone: the softmax cancels the bias
        for parameter in self.expand.parameters():
            nn.init.zeros_(parameter)

    @property
    def key(self) -> Tensor:
        """Weights of the attention, [C]."""
        return self.position.weight.flatten()

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the vector of each image from the attention-pooled map: [N, C] -> [N, C]."""
        return self.expand(self.norm(self.reduce(pooled)).relu())


class FGD(nn.Module):
    r"""FGD for one pyramid level.

    .. math::
        L = \alpha \tfrac1N \sum F q (T-S)^2 + \beta \tfrac1N \sum B q (T-S)^2
          + \gamma \tfrac1N (\sum|a_S-a_T| + \sum|s_S-s_T|) + \lambda \tfrac1N \|R_S(S)-R_T(T)\|^2

    with q = s_T a_T, F and B the box masks. Both R are trained, the teacher's too.

    Args:
        channels: C of both maps.
        temperature: of the attention maps.
        alpha: foreground weight (reduction R2).
        beta: background weight (R2).
        gamma: attention weight (R3).
        lambda_: global weight (R1).
        reduction: `published`, or `mean` over channels (R2), cells or channels (R3), elements (R1).
        scale: factors for another input size.
    """

    def __init__(  # noqa: PLR0913 (the paper's own hyperparameters)
        self,
        channels: int,
        *,
        temperature: float,
        alpha: float,
        beta: float,
        gamma: float,
        lambda_: float,
        reduction: Reduction = "published",
        scale: Scale = UNSCALED,
    ) -> None:
        super().__init__()
        self.temperature, self.alpha, self.beta, self.gamma, self.lambda_ = temperature, alpha, beta, gamma, lambda_
        self.normaliser, self.channels = Normaliser(reduction, scale), channels
        self.student_context = _GlobalContext(channels)
        self.teacher_context = _GlobalContext(channels)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        parts = self.parts(student, teacher, targets)
        return torch.stack(list(parts.values())).sum()

    def parts(self, student: Tensor, teacher: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the four weighted terms: foreground, background, attention, relation."""
        num_images, channels, height, width = student.shape
        teacher = teacher.flatten(2)  # [N, C, P]
        total = sums(student.flatten(2), teacher, self.student_context.key, self.temperature)
        error = total.error * total.spatial  # sum_c q (T-S)^2
        foreground = foreground_mask(targets, (height, width)).to(student.dtype)
        background = background_mask(foreground)
        per_image = 1 / num_images / (channels if self.normaliser.reduction == "mean" else 1)
        return {
            "foreground": self.alpha * per_image * torch.dot(foreground.flatten(), error.flatten()),
            "background": self.beta * per_image * torch.dot(background.flatten(), error.flatten()),
            "attention": self.gamma / num_images * self._attention(total),
            "relation": self.lambda_ / num_images * self._relation(total, teacher),
        }

    def _attention(self, total: Sums) -> Tensor:
        spatial, channel = attentions(total.over_channels, total.over_cells, self.temperature)
        over_cells = F.l1_loss(spatial, total.spatial, reduction="sum") * self.normaliser.cells(spatial.shape[1])
        over_channels = F.l1_loss(channel, total.channel, reduction="sum") * self.normaliser.channels(channel.shape[1])
        return over_cells + over_channels

    def _relation(self, total: Sums, teacher: Tensor) -> Tensor:
        """Expand ||D + c||^2, c constant over the cells, so that the map is not walked again."""
        _, pooled = attention_pool(teacher, self.teacher_context.key)
        context = self.student_context(total.pooled) - self.teacher_context(pooled)  # [N, C]
        _, channels, cells = teacher.shape
        cross = (context * (2 * total.difference + cells * context)).sum()
        return (total.squared + cross) * self.normaliser.elements(channels * cells)

    def effective_weight(self, elements: int) -> dict[str, float]:
        """Return each weight as that of a mean over one image and level of `elements`.

        alpha and beta: of a mean over channels, which the masks average over the cells of a box or of the background;
        gamma: of a mean over cells and one over channels, both together; lambda: of a mean over elements.
        """
        of_channels = 1 if self.normaliser.reduction == "mean" else self.channels
        cells = elements // self.channels
        counted = cells * self.normaliser.cells(cells) + self.channels * self.normaliser.channels(self.channels)
        return {
            "alpha": self.alpha * of_channels,
            "beta": self.beta * of_channels,
            "gamma": self.gamma * counted,
            "lambda": self.normaliser.effective_weight(self.lambda_, elements),
        }
