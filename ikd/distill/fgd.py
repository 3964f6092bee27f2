"""Focal and Global Knowledge Distillation (Yang et al., CVPR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ikd.distill._scale import Reduction, Scale
from ikd.distill.functional import Targets, attention, background_mask, foreground_mask


class _GlobalContext(nn.Module):
    """R(X) - X of FGD's global term: an attention-pooled context through a bottleneck, one vector per image.

    The last layer starts at zero, so that the term starts as the plain squared distance (FGD, Eq. 10).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // 2)
        self.position = nn.Conv2d(channels, 1, 1)
        self.reduce = nn.Linear(channels, middle)
        self.norm = nn.LayerNorm(middle)
        self.expand = nn.Linear(middle, channels)
        nn.init.kaiming_normal_(self.position.weight, mode="fan_in", nonlinearity="relu")
        for parameter in (self.position.bias, self.expand.weight, self.expand.bias):
            assert parameter is not None
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:  # [N, C, H, W] -> [N, C]
        where = self.position(features).flatten(1).softmax(dim=1)  # [N, HW]
        context = torch.einsum("ncp,np->nc", features.flatten(2), where)
        return self.expand(self.norm(self.reduce(context)).relu())


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
        temperature: float = 0.5,
        alpha: float = 1e-3,
        beta: float = 5e-4,
        gamma: float = 5e-4,
        lambda_: float = 5e-6,
        reduction: Reduction = "published",
        scale: Scale = Scale(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.temperature, self.alpha, self.beta, self.gamma, self.lambda_ = temperature, alpha, beta, gamma, lambda_
        self.mean, self.scale = reduction == "mean", scale
        self.student_context = _GlobalContext(channels)
        self.teacher_context = _GlobalContext(channels)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        parts = self.parts(student, teacher, targets)
        return torch.stack(list(parts.values())).sum()

    def parts(self, student: Tensor, teacher: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the four weighted terms: foreground, background, attention, relation."""
        num_images, channels, height, width = student.shape
        spatial, channel = attention(teacher, self.temperature)
        foreground = foreground_mask(targets, (height, width)).to(student.dtype)
        difference = student - teacher
        squared = difference.square()
        error = torch.einsum("nchw,nc->nhw", squared, channel) * spatial  # sum_c q (T-S)^2
        per_image = 1 / num_images / (channels if self.mean else 1)
        context = self.student_context(student) - self.teacher_context(teacher)  # [N, C]
        return {
            "foreground": self.alpha * per_image * (foreground * error).sum(),
            "background": self.beta * per_image * (background_mask(foreground) * error).sum(),
            "attention": self.gamma * self._attention(student, spatial, channel),
            "relation": self.lambda_ * self._relation(difference, squared, context),
        }

    def _attention(self, student: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
        student_spatial, student_channel = attention(student, self.temperature)
        cells = 1 / spatial[0].numel() if self.mean else self.scale.cells
        channels = 1 / channel.shape[1] if self.mean else self.scale.channels
        over_cells = (student_spatial - spatial).abs().sum() * cells
        over_channels = (student_channel - channel).abs().sum() * channels
        return (over_cells + over_channels) / len(student)

    def _relation(self, difference: Tensor, squared: Tensor, context: Tensor) -> Tensor:
        """Expand ||D + c||^2, c constant over the cells, so that the map is not walked again."""
        num_images, cells = len(difference), difference[0, 0].numel()
        total = squared.sum() + 2 * (context * difference.sum(dim=(2, 3))).sum() + cells * context.square().sum()
        return total / num_images * (1 / difference[0].numel() if self.mean else self.scale.elements)

    def effective_weight(self, elements: int) -> float:
        """Return the weight of the global term as that of a mean over `elements` of one image and level."""
        return self.lambda_ * (1.0 if self.mean else elements * self.scale.elements)
