"""Feature-based Knowledge Distillation (Zhang & Ma, ICLR 2021), called FKD in later papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
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
        window = (min(self.stride, features.shape[2]), min(self.stride, features.shape[3]))
        keys, values = (F.max_pool2d(layer(features), window).flatten(2) for layer in (self.key, self.value))
        mixing = torch.bmm(values, keys.transpose(1, 2)) / keys.shape[2]  # [N, inner, inner]
        queries = self.query(features)
        mixed = torch.bmm(mixing, queries.flatten(2)).view_as(queries)
        return features + self.out(mixed)


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
        channel = self.channel_adapter(student.mean(dim=(2, 3))) - teacher.mean(dim=(2, 3))
        spatial = self.spatial_adapter(student.mean(dim=1, keepdim=True)) - teacher.mean(dim=1, keepdim=True)
        relation = self.relation_adapter(self.student_relation(student)) - self.teacher_relation(teacher)
        feature = self.feature_adapter(student) - teacher
        with torch.no_grad():  # the two factors of sqrt(m)
            ours, theirs = (attention(features, self.temperature) for features in (student, teacher))
            of_cell, of_channel = (((one + other) / 2).sqrt() for one, other in zip(ours, theirs, strict=True))
        feature = feature * of_cell[:, None]
        if self.channel_mask:
            feature = feature * of_channel[:, :, None, None]
        return {  # vector_norm has the gradient 0 at 0, where the root of a sum of squares would have NaN
            "feature": whole * vector_norm(feature),
            "channel": of_channels * vector_norm(channel),
            "spatial": of_cells * vector_norm(spatial),
            "relation": whole * vector_norm(relation),
        }

    def _root(self, factor: float, num_images: int) -> float:
        """Return what a norm is multiplied by where its square takes `factor`; a mean counts the batch too."""
        return math.sqrt(factor / (num_images if self.normaliser.reduction == "mean" else 1))
