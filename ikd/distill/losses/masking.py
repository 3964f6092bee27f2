"""What the masked generative losses (MGD, AMD, DMKD, DFMSD) share: generators, masks, channel gate, squared error."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import full_precision


def make_generator(channels: int) -> nn.Sequential:
    """Return conv3x3 - ReLU - conv3x3 of constant width and size, torch's default initialisation (MGD)."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
    )


def hide_cells(teacher: Tensor, ratio: float) -> Tensor:
    """Mask of 0 in the floor(ratio H W) cells of each image where the teacher attends most, else 1.

    The order is that of FGD's spatial attention, a softmax of the magnitudes, which has it at every temperature.

    Args:
        teacher: [N, C, H, W].
        ratio: share of hidden cells, in [0, 1].

    Returns:
        [N, 1, H, W].
    """
    num_images, _, height, width = teacher.shape
    return _hide_highest(teacher.abs().sum(dim=1).flatten(1), ratio).view(num_images, 1, height, width)


def hide_channels(teacher: Tensor, ratio: float) -> Tensor:
    """Mask of 0 in the floor(ratio C) channels of each image that the teacher attends to most, else 1.

    Args:
        teacher: [N, C, H, W].
        ratio: share of hidden channels, in [0, 1].

    Returns:
        [N, C, 1, 1].
    """
    return _hide_highest(teacher.abs().sum(dim=(2, 3)), ratio)[:, :, None, None]


def _hide_highest(values: Tensor, ratio: float) -> Tensor:
    """Hide exactly the floored count of each row [N, K], ties included: below a ratio of 1 one place always stays."""
    count = int(ratio * values.shape[1] + 1e-9)  # 0.29 * 100 is a rounding error below 29
    hidden = values.topk(count, dim=1, sorted=False).indices
    return torch.ones_like(values).scatter_(1, hidden, 0.0)


class ChannelGate(nn.Module):
    """Squeeze-and-excitation gate sigma(V2 ReLU(V1 mean_hw X)) (Hu et al., CVPR 2018), reduction 16."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // 16)
        self.squeeze = nn.Linear(channels, middle)
        self.excite = nn.Linear(middle, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return the gate in (0, 1): [N, C, H, W] -> [N, C, 1, 1]."""
        gate = self.excite(self.squeeze(features.mean(dim=(2, 3))).relu()).sigmoid()
        return gate[:, :, None, None]


class DualMasking(nn.Module):
    r"""Restores the teacher's map from the student's, once with cells and once with channels hidden (DMKD).

    .. math::
        U = \omega_s G_s(S \cdot M_s) + \omega_c \, c(T) \cdot G_c(S \cdot M_c), \quad \omega = \mathrm{softmax}(o)

    with trained o, zero at first, so that both branches begin with half.

    Args:
        channels: C of both maps.
        spatial_mask_ratio: share of hidden cells, in [0, 1].
        channel_mask_ratio: share of hidden channels, in [0, 1].
        se: whether the channel branch has the gate c.
    """

    def __init__(self, channels: int, *, spatial_mask_ratio: float, channel_mask_ratio: float, se: bool) -> None:
        super().__init__()
        self.spatial_mask_ratio, self.channel_mask_ratio = spatial_mask_ratio, channel_mask_ratio
        self.spatial_generator = make_generator(channels)
        self.channel_generator = make_generator(channels)
        self.gate = ChannelGate(channels) if se else None
        self.fusion = nn.Parameter(torch.zeros(2))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return U; all maps [N, C, H, W]."""
        by_cells = self.spatial_generator(student * hide_cells(teacher, self.spatial_mask_ratio))
        by_channels = self.channel_generator(student * hide_channels(teacher, self.channel_mask_ratio))
        share_cells, share_channels = self.fusion.softmax(dim=0).unbind()
        if self.gate is not None:
            share_channels = share_channels * self.gate(teacher)
        return by_cells * share_cells + by_channels * share_channels


def squared_errors(restored: Tensor, teacher: Tensor) -> Tensor:
    """Return the squared distance of each image: [N, C, H, W] twice -> [N]."""
    return F.mse_loss(full_precision(restored), full_precision(teacher), reduction="none").sum(dim=(1, 2, 3))
