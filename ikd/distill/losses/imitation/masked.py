"""What imitation losses share: an adapter, and squared errors over chosen cells."""

from __future__ import annotations

from torch import Tensor, nn


def make_adapter(channels: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps channels and size, through which the student's map goes."""
    return nn.Conv2d(channels, channels, 3, padding=1)


def mean_over_cells(errors: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean over cells of errors summed over channels; 0 where no cell has a weight.

    Args:
        errors: [N, C, H, W].
        weights: [N, H, W], >= 0.

    Returns:
        sum(weights * errors) / sum(weights), a scalar. A weight counts once for all channels: over C it is a mean.
    """
    total = weights.sum()
    return (errors.sum(dim=1) * weights).sum() / total.masked_fill(total == 0, 1.0)
