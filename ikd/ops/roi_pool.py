"""Pooling under RoIs besides RoIAlign: deformable (Dai et al. 2017, eq. 6) and the largest value (Fast R-CNN).

Letters in shapes: R RoIs, P bins along an axis, G grid points of a bin along an axis, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ikd.ops.kernel import add_gradients, kernel, working
from ikd.ops.roi_align import MAX_POINTS, MAX_SAMPLES, taps
from ikd.ops.rows import channels_last_table, outer_taps, weighted_rows


@dataclass(frozen=True)
class DeformPooling:
    """Options of deformable RoI pooling, named as mmcv's wrapper passes them.

    Attributes:
        pooled_height: bins along y.
        pooled_width: bins along x.
        spatial_scale: feature pixels per unit of RoI coordinates.
        sampling_ratio: grid points along each axis of a bin; 0 takes about one per pixel.
        gamma: how far an offset of 1 moves a bin, in sizes of its RoI.
    """

    pooled_height: int
    pooled_width: int
    spatial_scale: float
    sampling_ratio: int
    gamma: float


@kernel
def deform_roi_pool_forward(  # noqa: D417 - the options are those of DeformPooling
    features: Tensor, rois: Tensor, offset: Tensor, output: Tensor, **options: float
) -> None:
    """Write the means over the moved bins into `output`.

    Args:
        features: [N, C, H, W].
        rois: image index and xyxy, [R, 5].
        offset: x and y of each bin's move, [R, 2, P_y, P_x]; empty for none.
        output: written, [R, C, P_y, P_x].
    """
    pooling = DeformPooling(**options)  # type: ignore[arg-type]  # mmcv's keywords; a wrong one fails here by name
    maps = working(features)
    for part in _parts(rois, pooling):
        moves = (working(offset[part]),) if offset.numel() else ()
        output[part] = _pooled(rois[part].to(maps.dtype), pooling, maps, *moves).to(output.dtype)


@kernel
def deform_roi_pool_backward(  # noqa: D417 - the options are those of DeformPooling
    grad_output: Tensor,
    features: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_features: Tensor,
    grad_offset: Tensor,
    **options: float,
) -> None:
    """Add to the gradients of features and offsets.

    The compiled kernel's gradient of an offset is another on the outermost pixel of a map, where it goes on with the
    slope that lies inside; here it is that of the value.

    Args:
        grad_output: gradient of the forward kernel's output.
        features: as given to it, as are the next two.
        rois: likewise.
        offset: likewise.
        grad_features: added to.
        grad_offset: added to.
    """
    pooling = DeformPooling(**options)  # type: ignore[arg-type]
    for part in _parts(rois, pooling):
        corners = rois[part].to(working(features).dtype)
        inputs, grads = [features], [grad_features]
        if offset.numel():
            inputs, grads = [features, offset[part]], [grad_features, grad_offset[part]]
        add_gradients(lambda *tensors, at=corners: _pooled(at, pooling, *tensors), inputs, grad_output[part], grads)


def _parts(rois: Tensor, pooling: DeformPooling) -> Iterator[slice]:
    """Yield as many RoIs at a time as memory allows."""
    if not len(rois):
        return
    grid = [pooling.sampling_ratio] * 2
    if not pooling.sampling_ratio:
        extent = ((rois[:, 3:] - rois[:, 1:3]).amax(0) * pooling.spatial_scale).tolist()
        bins = (pooling.pooled_width, pooling.pooled_height)
        grid = [max(1, math.ceil(size / count)) for size, count in zip(extent, bins, strict=True)]
    size = max(1, MAX_POINTS // (grid[0] * grid[1] * pooling.pooled_height * pooling.pooled_width))
    for begin in range(0, len(rois), size):
        yield slice(begin, begin + size)


def _pooled(rois: Tensor, pooling: DeformPooling, features: Tensor, offset: Tensor | None = None) -> Tensor:
    """Pool some RoIs, differentiably by features and offsets: [R, C, P_y, P_x]."""
    _, channels, height, width = features.shape
    bins = (pooling.pooled_height, pooling.pooled_width)
    moves = rois.new_zeros(len(rois), 2, *bins) if offset is None else offset * pooling.gamma
    starts = rois[:, 1:] * pooling.spatial_scale - 0.5
    extents = starts[:, 2:] - starts[:, :2]
    places = [torch.arange(count, device=rois.device) for count in bins]
    y, weight_y = _axis(starts[:, 1], extents[:, 1], moves[:, 1], places[0].view(-1, 1), (height, pooling))
    x, weight_x = _axis(starts[:, 0], extents[:, 0], moves[:, 0], places[1].view(1, -1), (width, pooling))
    rows = y + rois[:, 0].long().view(-1, 1, 1, 1) * height
    pixel = (rows.unsqueeze(-1) * width + x.unsqueeze(-2)).flatten(3)
    weight = outer_taps(weight_y, weight_x)
    summed = weighted_rows(channels_last_table(features), pixel.flatten(0, 2), weight.flatten(0, 2))
    return summed.view(len(rois), *bins, channels).permute(0, 3, 1, 2)


def _axis(
    start: Tensor, extent: Tensor, moves: Tensor, place: Tensor, limits: tuple[int, DeformPooling]
) -> tuple[Tensor, Tensor]:
    """Return pixels and weights of the taps of every bin along one axis, [R, P_y, P_x, 2 G].

    Args:
        start: where the RoIs begin, feature pixels, [R].
        extent: their sizes, [R].
        moves: of the bins, in sizes of their RoI, [R, P_y, P_x].
        place: index of the bins along this axis, broadcastable to [P_y, P_x].
        limits: size of the map along this axis, and the options.
    """
    size, pooling = limits
    bin_size = extent / place.numel()
    num_points = torch.full_like(start, pooling.sampling_ratio) if pooling.sampling_ratio else bin_size.ceil()
    grid = torch.arange(max(1, int(num_points.max())), device=start.device)
    start, extent, step, count = (one.view(-1, 1, 1, 1) for one in (start, extent, bin_size, num_points))
    first = start + extent * moves.unsqueeze(-1) + place.unsqueeze(-1) * step
    pixel, weight = taps(first + (grid + 0.5) * step / count.clamp(min=1), size)  # [R, P_y, P_x, G, 2]
    mean = (grid < count) / count.clamp(min=1)
    return pixel.flatten(3), (weight * mean.unsqueeze(-1)).flatten(3)


@kernel
def roi_pool_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Write the largest value under each bin.

    Args:
        features: [N, C, H, W].
        rois: image index and xyxy, whose last pixels belong to it, [R, 5].
        output: written, [R, C, P_y, P_x]; 0 for a bin without a pixel.
        argmax: written, shaped as `output`: cell of the largest value in its map, -1 without one.
        pooled_height: bins along y.
        pooled_width: bins along x.
        spatial_scale: feature pixels per unit of RoI coordinates.
    """
    _, channels, height, width = features.shape
    corners = working(rois[:, 1:]) + working(rois).new_tensor([0.0, 0.0, 1.0, 1.0])
    top, bottom = _windows(corners[:, 1::2] * spatial_scale, pooled_height, height)
    left, right = _windows(corners[:, 0::2] * spatial_scale, pooled_width, width)
    rows, columns = (
        max(1, int((last - first).max())) if len(rois) else 1 for first, last in ((top, bottom), (left, right))
    )
    table = channels_last_table(features)
    part = max(1, MAX_SAMPLES // (rows * columns * pooled_height * pooled_width * channels))
    for begin in range(0, len(rois), part):
        some = slice(begin, begin + part)
        y = top[some].unsqueeze(-1) + torch.arange(rows, device=top.device)  # [R, P_y, rows]
        x = left[some].unsqueeze(-1) + torch.arange(columns, device=top.device)
        inside = _cross(y < bottom[some].unsqueeze(-1), x < right[some].unsqueeze(-1), torch.logical_and)
        cell = _cross(
            y.clamp(max=height - 1) * width, x.clamp(max=width - 1), torch.add
        )  # [R, P_y, P_x, rows * columns]
        image = rois[some, 0].long().view(-1, 1, 1, 1) * (height * width)
        values = table[cell + image].masked_fill_(~inside.unsqueeze(-1), -math.inf)  # [..., C]
        largest, which = values.max(dim=3)
        empty = largest == -math.inf
        output[some] = largest.masked_fill(empty, 0).permute(0, 3, 1, 2)
        argmax[some] = cell.gather(3, which).masked_fill_(empty, -1).permute(0, 3, 1, 2).to(argmax.dtype)


@kernel
def roi_pool_backward(
    grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_features: Tensor, **options: float
) -> None:
    """Add the gradient of each bin to the cell that it took; `argmax` as the forward kernel wrote it."""
    del options
    _, channels, height, width = grad_features.shape
    plane = rois[:, 0].long().view(-1, 1) * channels + torch.arange(channels, device=rois.device)  # [R, C]
    target = plane.view(*plane.shape, 1, 1) * (height * width) + argmax.clamp(min=0)
    share = torch.where(argmax >= 0, grad_output, 0).to(grad_features.dtype)
    grad_features.view(-1).index_add_(0, target.flatten(), share.flatten())


def _windows(ends: Tensor, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Return first pixel and the one after the last of each bin along an axis, [R, count]; `ends` of RoIs, [R, 2]."""
    start, extent = ends[:, :1], ends[:, 1:] - ends[:, :1]
    bins = torch.arange(count + 1, device=ends.device) * (extent / count)
    first, last = (start + bins[:, :-1]).floor(), (start + bins[:, 1:]).ceil()
    last = torch.where(extent > 0, last, first)
    return first.clamp(0, size).long(), last.clamp(0, size).long()


def _cross(rows: Tensor, columns: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine rows [R, P_y, A] with columns [R, P_x, B]: [R, P_y, P_x, A * B]."""
    return combine(rows[:, :, None, :, None], columns[:, None, :, None, :]).flatten(3)
