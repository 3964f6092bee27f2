"""Weighted sums of table rows, and their transpose: the sparse product under RoIAlign and deformable convolution.

Bilinear sampling of all channels at a point is a weighted sum of four rows of a channels-last feature table [P, C].
Both directions run through `embedding_bag`: it never builds the [points, taps, C] tensor that plain indexing would (18
times slower at C = 256), and unlike atomic adds its sums have one order, so gradients are the same in every run.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def channels_last_table(features: Tensor) -> Tensor:
    """Lay features [N, C, H, W] out as a table [N*H*W, C]."""
    return features.permute(0, 2, 3, 1).contiguous().view(-1, features.shape[1])


def weighted_rows(table: Tensor, index: Tensor, weight: Tensor, starts: Tensor | None = None) -> Tensor:
    """Sum weighted rows of a table.

    Args:
        table: [P, C].
        index: rows to read, [M, K], or flat [T] together with `starts`.
        weight: same shape as `index`, dtype of `table`.
        starts: for flat input, where each of the M sums begins in `index`, ascending, [M].

    Returns:
        [M, C]; sums of nothing are 0.
    """
    if index.numel() == 0 or table.shape[1] == 0:
        return table.new_zeros(len(index if starts is None else starts), table.shape[1])
    return F.embedding_bag(index, table, starts, per_sample_weights=weight, mode="sum")


def spread_rows(rows: Tensor, target: Tensor, weight: Tensor, source: Tensor, num_rows: int) -> Tensor:
    """Add weighted rows into a table: the transpose of `weighted_rows`.

    Args:
        rows: what is spread, [M, C].
        target: table row of each entry, flat [T].
        weight: weight of each entry, [T], dtype of `rows`.
        source: row of `rows` of each entry, [T].
        num_rows: height P of the table.

    Returns:
        [P, C].
    """
    by_row, order = target.int().sort(stable=True)  # int32 sorts almost twice as fast as int64
    starts = torch.searchsorted(by_row, torch.arange(num_rows, dtype=torch.int32, device=target.device))
    return weighted_rows(rows, source[order], weight[order], starts)


def outer_taps(rows: Tensor, columns: Tensor) -> Tensor:
    """Combine the two taps along each axis, [..., 2] and [..., 2], to the four taps of a point, [..., 4]."""
    return (rows.unsqueeze(-1) * columns.unsqueeze(-2)).flatten(-2)
