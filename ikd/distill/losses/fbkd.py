"""Feature-based Knowledge Distillation (Zhang & Ma, ICLR 2021), called FKD in later papers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch.linalg import vector_norm
from torch.nn import functional as F

from ikd.distill.functional import Targets, attention
from ikd.distill.losses.weights import UNSCALED, Normaliser, Reduction, Scale


class NonLocal(nn.Module):
    r"""Dot-product non-local block with pooled keys and values (Wang et al., CVPR 2018).

    .. math:: X + W \Big(\tfrac1K \sum_k \theta(X)^\top \phi_k \, g_k\Big), \quad \phi, g \text{ max-pooled to K cells}

    Without a softmax the sum over keys comes first: an inner x inner matrix takes the place of the cells x K one. W
    starts at zero, so that the block starts as the identity. The batch norm behind W of some copies is left out.

    Args:
        channels: C.
        inner: width of theta, phi and g.
        stride: of the max-pooling; maps that are smaller are pooled whole.
    """

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Return the block's output: [N, C, H, W] -> [N, C, H, W]."""
        return features + self.change(features)

    def change(self, features: Tensor) -> Tensor:
        """Return what the block adds to a map: [N, C, H, W] -> [N, C, H, W]."""
        down, up, shift = self.factors(features)
        cells = features.flatten(2)
        return torch.baddbmm(shift, up.expand(len(cells), -1, -1), torch.bmm(down, cells)).view_as(features)

    def factors(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the block as the linear map of each image that it is, once its keys and values are known.

        Returns:
            down [N, inner, C], up [C, inner] and shift [N, C, 1]: a cell x gets x + up (down x) + shift.
        """
        window = (min(self.stride, features.shape[2]), min(self.stride, features.shape[3]))
        weight, bias = (
            torch.cat([getattr(one, part) for one in (self.key, self.value)]) for part in ("weight", "bias")
        )
        keys, values = F.max_pool2d(F.conv2d(features, weight, bias), window).flatten(2).chunk(2, dim=1)
        mixing = torch.bmm(values, keys.transpose(1, 2)) / keys.shape[2]  # [N, inner, inner]
        up = self.out.weight.flatten(1)
        shift = up @ (mixing @ _column(self.query.bias)) + _column(self.out.bias)
        return mixing @ self.query.weight.flatten(1), up, shift


class FBKD(nn.Module):
    r"""FBKD for one pyramid level.

    .. math::
        L = w_1 \big(\|\sqrt{m}\,(T - A_1 S)\| + \|A_4 NL_S(S) - NL_T(T)\|\big)
          + w_2 \big(\|\bar T_c - A_2 \bar S_c\| + \|\bar T_{hw} - A_3 \bar S_{hw}\|\big)

    with m the mean of both spatial attentions, times that of both channel attentions with `channel_mask`, taken as
    constants, and means over cells (c) or channels (hw), signed. A_1..A_4 are trained, both non-local blocks too.
    Published recipes: one-stage as declared; two-stage t = 0.5, w_1 = 7e-5, w_2 = 4e-3, no channel mask.

    Every norm runs over the whole batch and is not squared (reduction R4): the loss is NOT additive over splits of the
    batch (accumulated or spread over devices it is another loss), it grows with the root of batch and map, and its
    gradient does not shrink with the residual. The gradient at a residual of exactly 0 is 0.

    Args:
        channels: C of both maps.
        temperature: t of the attention maps.
        w_feature: w_1.
        w_attention: w_2.
        channel_mask: whether m has its channel factor (the one-stage recipe).
        level: index in the pyramid, which sets inner width and pooling stride of the non-local blocks: 64 and 8 on
            level 0, 64 and 4 on level 1, else 128 and 2. The width is at most C.
        reduction: `published` norms, or `mean`: each norm by the root of its number of entries, batch included.
        scale: factors for another input size; norms take their roots.
    """

    def __init__(  # noqa: PLR0913 (hyperparameters of the method)
        self,
        channels: int,
        *,
        temperature: float,
        w_feature: float,
        w_attention: float,
        channel_mask: bool,
        level: int = 2,
        reduction: Reduction = "published",
        scale: Scale = UNSCALED,
    ) -> None:
        super().__init__()
        self.temperature, self.w_feature, self.w_attention = temperature, w_feature, w_attention
        self.channel_mask, self.normaliser = channel_mask, Normaliser(reduction, scale)
        inner, stride = {0: (64, 8), 1: (64, 4)}.get(level, (128, 2))
        self.feature_adapter = nn.Conv2d(channels, channels, 1)
        self.channel_adapter = nn.Linear(channels, channels)
        self.spatial_adapter = nn.Conv2d(1, 1, 3, padding=1)
        self.relation_adapter = nn.Conv2d(channels, channels, 1)
        self.student_relation = NonLocal(channels, min(inner, channels), stride)
        self.teacher_relation = NonLocal(channels, min(inner, channels), stride)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        return torch.stack(list(self.parts(student, teacher).values())).sum()

    def parts(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Return the four weighted terms: feature, channel, spatial, relation."""
        num_images, channels, height, width = student.shape
        normaliser = self.normaliser
        whole = self.w_feature * self._root(normaliser.elements(channels * height * width), num_images)
        of_channels = self.w_attention * self._root(normaliser.channels(channels), num_images)
        of_cells = self.w_attention * self._root(normaliser.cells(height * width), num_images)
        with torch.no_grad():  # the two factors of sqrt(m)
            ours, theirs = (attention(features, self.temperature) for features in (student, teacher))
            of_cell, of_channel = (((one + other) / 2).sqrt() for one, other in zip(ours, theirs, strict=True))
        factors = (of_cell.flatten(1)[:, None], *((of_channel[:, :, None],) if self.channel_mask else ()))
        student, per_channel, per_cell = WithMeans.apply(student)  # type: ignore[no-untyped-call]
        channel = self.channel_adapter(per_channel) - teacher.mean(dim=(2, 3))
        spatial = self.spatial_adapter(per_cell) - teacher.mean(dim=1, keepdim=True)
        return {
            "feature": whole * _norm(self._feature(student, teacher), *factors),
            "channel": of_channels * _norm(channel),
            "spatial": of_cells * _norm(spatial),
            "relation": whole * _norm(self._relation(student, teacher)),
        }

    def _feature(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return A_1 S - T as one product that subtracts, [N, C, H W]."""
        weight, bias = self.feature_adapter.weight.flatten(1), self.feature_adapter.bias
        weights = weight.expand(len(student), -1, -1)
        return torch.baddbmm(teacher.flatten(2), weights, student.flatten(2), beta=-1).add_(_column(bias))

    def _relation(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return A_4 NL(S) - NL(T), [N, C, H W], A_4 and the student's block as one matrix an image."""
        down, up, shift = self.student_relation.factors(student)
        adapter = self.relation_adapter.weight.flatten(1)
        whole = adapter + (adapter @ up) @ down  # [N, C, C]
        their_down, their_up, their_shift = self.teacher_relation.factors(teacher)
        cells = teacher.flatten(2)
        ups = (-their_up).expand(len(cells), -1, -1)
        theirs = torch.baddbmm(cells, ups, torch.bmm(their_down, cells), beta=-1)
        shifts = adapter @ shift + _column(self.relation_adapter.bias) - their_shift
        return torch.baddbmm(theirs, whole, student.flatten(2)).add_(shifts)

    def _root(self, factor: float, num_images: int) -> float:
        """Return what a norm is multiplied by where its square takes `factor`; a mean counts the batch too."""
        return math.sqrt(factor / (num_images if self.normaliser.reduction == "mean" else 1))


def _column(bias: Tensor | None) -> Tensor:
    assert bias is not None
    return bias[:, None]


class WithMeans(Function):
    """Features, [N, C, H, W], with their means over cells [N, C] and channels [N, 1, H, W]; one gradient for all."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features and means."""
        return features.view_as(features), features.mean(dim=(2, 3)), features.mean(dim=1, keepdim=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, features: Tensor, per_channel: Tensor, per_cell: Tensor) -> Tensor:
        """Add up the three gradients in one map."""
        cells, channels = features[0, 0].numel(), features.shape[1]
        return (features + per_cell / channels).add_((per_channel / cells)[:, :, None, None])


class Norm(Function):
    """Euclidean norm of values times constant factors, with the gradient 0 at 0."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, *factors: Tensor) -> Tensor:
        """Return the norm, a scalar."""
        for factor in factors:
            values = values * factor
        norm = vector_norm(values)
        ctx.save_for_backward(values, norm, *factors)
        return norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the values; the factors have none."""
        values, norm, *factors = ctx.saved_tensors
        through = values * torch.where(norm > 0, grad / norm, 0)
        for factor in factors:
            through.mul_(factor)
        return through, *[None for _ in factors]


def _norm(values: Tensor, *factors: Tensor) -> Tensor:
    norm: Tensor = Norm.apply(values, *factors)  # type: ignore[no-untyped-call]
    return norm
