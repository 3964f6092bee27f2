"""RoIAlign (He et al., Mask R-CNN, section 3) in plain PyTorch, with the sampling rules of mmcv's kernel.

A bin of an RoI is sampled on a grid of points, each point bilinearly between four pixels, and the samples are averaged
or the largest is taken. So the average over a bin is one weighted sum of pixel rows, whose weights do not depend on the
channel: see `_rows`.

Letters in shapes: R RoIs, P bins along an axis, G grid points of a bin along an axis, S sampled points of all bins, C
channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ikd.ops.kernel import kernel, working
from ikd.ops.rows import channels_last_table, outer_taps, spread_rows, weighted_rows

MAX, AVERAGE = 0, 1
MAX_POINTS = 1 << 20  # sampled points handled at once: bounds the index memory at about 100 MB
MAX_SAMPLES = 1 << 25  # elements of sampled values held at once (max pooling only)
LOWEST = -10000.0  # where mmcv's search for the largest sample starts; what an empty bin gets


@dataclass(frozen=True)
class Pooling:
    """Options of RoIAlign, named as mmcv's wrapper passes them.

    Attributes:
        aligned_height: bins along y.
        aligned_width: bins along x.
        spatial_scale: feature pixels per unit of RoI coordinates.
        sampling_ratio: grid points along each axis of a bin; 0 takes about one per pixel.
        pool_mode: 0 largest sample, 1 mean of samples.
        aligned: shift by half a pixel, so that pixel centres lie at .5; otherwise RoIs are at least 1 pixel large.
    """

    aligned_height: int
    aligned_width: int
    spatial_scale: float
    sampling_ratio: int
    pool_mode: int
    aligned: bool


@dataclass(frozen=True)
class Axis:
    """The grid of every RoI along one axis.

    Attributes:
        position: coordinate of each grid point; points beyond an RoI's own grid are not used, [R, P, G].
        pixel: lower and upper pixel, [R, P, G, 2].
        weight: their bilinear weights, 0 for points off the map, [R, P, G, 2].
        num_points: grid points per bin, [R].
    """

    position: Tensor
    pixel: Tensor
    weight: Tensor
    num_points: Tensor


@dataclass(frozen=True)
class Points:
    """The sampled points of some RoIs, bin by bin, row by row within a bin.

    Attributes:
        pixel: rows of the feature table, [S, 4].
        weight: bilinear weights, [S, 4].
        bin_of: bin of each point, numbered (RoI, y, x), [S].
        starts: first point of each bin, [bins].
        num_points: points of each bin, [bins].
        yx: coordinates, [S, 2].
    """

    pixel: Tensor
    weight: Tensor
    bin_of: Tensor
    starts: Tensor
    num_points: Tensor
    yx: Tensor


@kernel
def roi_align_forward(  # noqa: D417 - the options are those of Pooling
    features: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **options: float
) -> None:
    """Pool features under RoIs.

    Args:
        features: [N, C, H, W].
        rois: image index and xyxy, [R, 5].
        output: written, [R, C, P_y, P_x].
        argmax_y: written by max pooling, shaped as `output`: coordinate of the largest sample in feature pixels, -1
            without one.
        argmax_x: likewise.

    Raises:
        ValueError: an RoI with x2 < x1 or y2 < y1, under `aligned`. One that is not finite has features of NaN instead,
            so that a student that has diverged shows it in its losses.
    """
    pooling = Pooling(**options)  # type: ignore[arg-type]  # mmcv's keywords; a wrong one fails here by name
    table = channels_last_table(working(features))
    for part, points in _points(working(rois).to(table.dtype), features, pooling):
        shape = (-1, pooling.aligned_height, pooling.aligned_width, table.shape[1])
        if pooling.pool_mode == MAX:
            largest, yx = _largest(table, points)
            output[part] = largest.view(shape).permute(0, 3, 1, 2).to(output.dtype)
            argmax_y[part], argmax_x[part] = yx.view(*shape, 2).permute(4, 0, 3, 1, 2).to(output.dtype)
        else:
            starts, weight = 4 * points.starts, _mean_weight(points).flatten()
            mean = weighted_rows(table, points.pixel.flatten(), weight, starts)
            output[part] = mean.view(shape).permute(0, 3, 1, 2).to(output.dtype)
    output.masked_fill_(~_finite(rois)[:, None, None], float("nan"))


@kernel
def roi_align_backward(  # noqa: D417 - the options are those of Pooling
    grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor, **options: float
) -> None:
    """Add to `grad_input`, [N, C, H, W], the gradient that arrives as `grad_output`, [R, C, P_y, P_x].

    Args:
        grad_output: gradient of the forward kernel's output.
        rois: as given to the forward kernel.
        argmax_y: as written by the forward kernel; used by max pooling only.
        argmax_x: likewise.
        grad_input: added to.
    """
    pooling = Pooling(**options)  # type: ignore[arg-type]
    if pooling.pool_mode == MAX:
        _spread_to_largest(grad_output, rois, argmax_y, argmax_x, grad_input)
        return
    grad = working(grad_output)
    num_images, channels, height, width = grad_input.shape
    for part, points in _points(working(rois).to(grad.dtype), grad_input, pooling):
        rows = grad[part].permute(0, 2, 3, 1).reshape(-1, channels)  # [bins, C]
        source = points.bin_of.repeat_interleave(4, output_size=points.pixel.numel())
        weight = _mean_weight(points).flatten()
        pixels = spread_rows(rows, points.pixel.flatten(), weight, source, num_images * height * width)
        grad_input += pixels.view(num_images, height, width, channels).permute(0, 3, 1, 2).to(grad_input.dtype)


def _points(rois: Tensor, features: Tensor, pooling: Pooling) -> Iterator[tuple[slice, Points]]:
    """Yield the sampled points, as many RoIs at a time as memory allows; nothing for no RoIs."""
    channels, height, width = features.shape[1:]
    if not len(rois) or not channels:
        return
    shift = 0.5 if pooling.aligned else 0.0
    corners = rois[:, 1:].where(_finite(rois), 0) * pooling.spatial_scale - shift
    extent = corners[:, 2:] - corners[:, :2]  # [R, 2] as x, y
    if not pooling.aligned:
        extent = extent.clamp(min=1)
    bin_size = [extent[:, 1] / pooling.aligned_height, extent[:, 0] / pooling.aligned_width]
    num_y, num_x = (_num_points(size, pooling.sampling_ratio) for size in bin_size)
    on_y, on_x, fits = torch.stack([num_y, num_x, (extent >= 0).all(1).long()]).cpu()  # the one wait of a call
    if not fits.all():
        raise ValueError("RoIAlign needs x2 >= x1 and y2 >= y1 in every RoI; got a negative size")
    axis_y = _axis(corners[:, 1], bin_size[0], num_y, (pooling.aligned_height, int(on_y.max())), height)
    axis_x = _axis(corners[:, 0], bin_size[1], num_x, (pooling.aligned_width, int(on_x.max())), width)
    per_roi = on_y * on_x * (pooling.aligned_height * pooling.aligned_width)
    limit = MAX_POINTS if pooling.pool_mode == AVERAGE else max(1, MAX_SAMPLES // channels)
    for part in _parts(per_roi, limit):
        total = int(per_roi[part].sum())
        yield part, _join(rois[part, 0].long() * height, width, _take(axis_y, part), _take(axis_x, part), total)


def _finite(rois: Tensor) -> Tensor:
    """Return whether all of an RoI is finite, [R, 1]."""
    return rois.isfinite().all(dim=1, keepdim=True)


def _num_points(bin_size: Tensor, sampling_ratio: int) -> Tensor:
    """Return how many grid points a bin has along an axis, from its size in feature pixels; [R] -> [R]."""
    points = torch.full_like(bin_size, sampling_ratio) if sampling_ratio > 0 else bin_size.float().ceil()
    return points.long()


def _axis(start: Tensor, bin_size: Tensor, num_points: Tensor, shape: tuple[int, int], size: int) -> Axis:
    """Lay the grid along one axis of a map of `size` pixels.

    Args:
        start: of the RoIs, in feature pixels, [R].
        bin_size: likewise.
        num_points: grid points of a bin, [R].
        shape: bins P, and G, the most grid points of a bin.
        size: pixels of the map.
    """
    bins, grid = (torch.arange(count, device=start.device) for count in shape)
    start, step = start.view(-1, 1, 1), bin_size.view(-1, 1, 1)
    within = (grid + 0.5) * step / num_points.clamp(min=1).view(-1, 1, 1)
    position = start + bins.view(-1, 1) * step + within  # [R, P, G]
    return Axis(position, *taps(position, size), num_points)


def taps(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Lower and upper pixel of coordinates, [...], on an axis of `size` pixels, and their weights; [..., 2] each."""
    inside = (position >= -1) & (position <= size)  # mmcv: points up to a pixel off the map count, moved onto its edge
    clamped = torch.where(inside, position, 0).clamp(min=0, max=size - 1)
    low = clamped.long()
    fraction = clamped - low
    weight = torch.stack([1 - fraction, fraction], -1) * inside.unsqueeze(-1)
    return torch.stack([low, (low + 1).clamp(max=size - 1)], -1), weight


def _take(axis: Axis, part: slice) -> Axis:
    return Axis(axis.position[part], axis.pixel[part], axis.weight[part], axis.num_points[part])


def _parts(per_roi: Tensor, limit: int) -> Iterator[slice]:
    """Yield consecutive RoIs, cut wherever their points add up to another `limit`."""
    sizes = torch.unique_consecutive(per_roi.cumsum(0) // limit, return_counts=True)[1].tolist()
    begin = 0
    for size in sizes:
        yield slice(begin, begin + size)
        begin += size


def _join(image_row: Tensor, width: int, y: Axis, x: Axis, total: int) -> Points:
    """Cross the two axes of each RoI to `total` points; `image_row` counts the map rows before its image's, [R]."""
    (_, bins_y, grid_y), (_, bins_x, grid_x) = y.position.shape, x.position.shape
    num_points = (y.num_points * x.num_points).repeat_interleave(bins_y * bins_x)
    ends = num_points.cumsum(0)
    starts = ends - num_points
    bin_of = torch.arange(len(starts), device=starts.device).repeat_interleave(num_points, output_size=total)
    within = torch.arange(total, device=starts.device) - starts[bin_of]
    roi, cell = bin_of // (bins_y * bins_x), bin_of % (bins_y * bins_x)
    across = x.num_points[roi]
    at_y = (roi * bins_y + cell // bins_x) * grid_y + within // across  # into the flattened [R, P, G]
    at_x = (roi * bins_x + cell % bins_x) * grid_x + within % across
    rows = y.pixel.view(-1, 2)[at_y] + image_row[roi].unsqueeze(1)
    pixel = (rows.unsqueeze(-1) * width + x.pixel.view(-1, 2)[at_x].unsqueeze(-2)).flatten(-2)
    weight = outer_taps(y.weight.view(-1, 2)[at_y], x.weight.view(-1, 2)[at_x])
    yx = torch.stack([y.position.flatten()[at_y], x.position.flatten()[at_x]], -1)
    return Points(pixel, weight, bin_of, starts, num_points, yx)


def _mean_weight(points: Points) -> Tensor:
    """Return the weight of each tap in the mean of its bin, [S, 4]."""
    return points.weight / points.num_points[points.bin_of].unsqueeze(1)


def _largest(table: Tensor, points: Points) -> tuple[Tensor, Tensor]:
    """Find the largest sample of bins and channels, [bins, C], and its place, [bins, C, 2]; of equal ones the first."""
    values = weighted_rows(table, points.pixel, points.weight).nan_to_num(nan=LOWEST)  # [S, C]
    shape = (len(points.starts), table.shape[1])
    bins = points.bin_of.unsqueeze(1).expand_as(values)
    largest = table.new_full(shape, LOWEST).scatter_reduce_(0, bins, values, "amax")
    none = len(values)
    number = torch.arange(none, device=values.device).unsqueeze(1).expand_as(values)
    candidates = number.where((values == largest[points.bin_of]) & (values > LOWEST), none)
    first = torch.full(shape, none, device=values.device).scatter_reduce_(0, bins, candidates, "amin")
    return largest, torch.cat([points.yx, points.yx.new_full((1, 2), -1.0)])[first]


def _spread_to_largest(grad_output: Tensor, rois: Tensor, y: Tensor, x: Tensor, grad_input: Tensor) -> None:
    """Give the gradient of each bin and channel to the four pixels around its largest sample."""
    _, channels, height, width = grad_input.shape
    plane = rois[:, 0].long().view(-1, 1) * channels + torch.arange(channels, device=rois.device)  # [R, C]
    taps_y, taps_x = taps(working(y), height), taps(working(x), width)
    rows = plane.view(*plane.shape, 1, 1, 1) * height + taps_y[0]
    pixel = (rows.unsqueeze(-1) * width + taps_x[0].unsqueeze(-2)).flatten(-2)  # [R, C, P, P, 4]
    weight = outer_taps(taps_y[1], taps_x[1]) * (y != -1).unsqueeze(-1)
    share = (weight * working(grad_output).unsqueeze(-1)).to(grad_input.dtype)
    grad_input.view(-1).index_add_(0, pixel.flatten(), share.flatten())
