"""Deformable convolution, plain (Dai et al. 2017, eq. 2) and modulated (Zhu et al. 2019, eq. 1), in plain PyTorch.

The output at a position is a convolution over a patch whose every tap is moved by its own learnt offset and, when
modulated, scaled by its own mask. Patches are gathered to columns (bilinearly, zeros off the map), then multiplied with
the weights.

Letters in shapes: N images, C channels, O output channels, K kernel taps, D deformable groups, L = Ho * Wo positions of
the output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ikd.ops.kernel import kernel, working
from ikd.ops.rows import channels_last_table, outer_taps, spread_rows, weighted_rows

MAX_COLUMNS = 1 << 25  # elements of columns held at once; images are handled in batches of this, never less than one


@dataclass(frozen=True)
class Geometry:
    """Where a kernel reads; every pair is (y, x)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deform_groups: int


@dataclass(frozen=True)
class Patches:
    """Bilinear taps of the moved kernel positions of some images, in order (image, Ho, Wo, K, D).

    Attributes:
        pixel: row of each tap in the table [N*H*W*D, C / D], [S, 4].
        weight: bilinear weights, 0 off the map, [S, 4].
        slope_y: derivative of `weight` by y, [S, 4].
        slope_x: derivative of `weight` by x, [S, 4].
        mask: modulation, [S, 1], or None for 1.
    """

    pixel: Tensor
    weight: Tensor
    slope_y: Tensor
    slope_x: Tensor
    mask: Tensor | None


Inputs = tuple[Tensor, Tensor, "Tensor | None"]
Grads = tuple["Tensor | None", "Tensor | None", "Tensor | None", "Tensor | None"]


@kernel
def forward(weight: Tensor, inputs: Inputs, output: Tensor, geometry: Geometry) -> None:
    """Write the convolution into `output`.

    Args:
        weight: [O, C / groups, kernel height, kernel width].
        inputs: features [N, C, H, W], offsets [N, D*K*2, Ho, Wo] as (y, x) pairs, and masks [N, D*K, Ho, Wo] or None.
        output: written, [N, O, Ho, Wo].
        geometry: where the kernel reads.
    """
    for part in _batches(output, inputs[0].shape[1], geometry):
        features, patches = _patches(inputs, part, geometry)
        columns = _columns(features, patches, geometry)
        result = torch.einsum("nkgc,gock->ngo", columns, _grouped(working(weight).to(columns.dtype), geometry))
        output[part] = _to_map(result, output[part]).to(output.dtype)


@kernel
def backward(
    weight: Tensor,
    inputs: Inputs,
    grad_output: Tensor,
    grads: Grads,
    geometry: Geometry,
) -> None:
    """Add to the given gradients.

    Args:
        weight: as given to `forward`.
        inputs: as given to `forward`.
        grad_output: gradient of the output, [N, O, Ho, Wo].
        grads: gradients of features, offsets, masks and weight, added to in place; None where not wanted. Features and
            offsets are wanted together or not at all.
        geometry: where the kernel reads.
    """
    grad_features, grad_offset, grad_mask, grad_weight = grads
    for part in _batches(grad_output, inputs[0].shape[1], geometry):
        features, patches = _patches(inputs, part, geometry)
        groups = geometry.deform_groups
        rows = _to_rows(working(grad_output[part]).to(features.dtype), geometry.groups)
        if grad_weight is not None:
            products = torch.einsum("nkgc,ngo->gock", _columns(features, patches, geometry), rows)
            grad_weight += products.reshape(grad_weight.shape).to(grad_weight.dtype)
        if grad_features is not None and grad_offset is not None:
            kernels = _grouped(working(weight).to(rows.dtype), geometry)
            grad_columns = torch.einsum("ngo,gock->nkgc", rows, kernels).reshape(len(patches.pixel), -1)  # [S, C / D]
            grad_features[part] += _spread(grad_columns, patches, features).to(grad_features.dtype)
            by_offset, by_mask = _by_position(grad_columns, patches, features, geometry)
            grad_offset[part] += _unravel(by_offset, groups, grad_offset[part]).to(grad_offset.dtype)
            if grad_mask is not None:
                grad_mask[part] += _unravel(by_mask, groups, grad_mask[part]).to(grad_mask.dtype)


def _batches(output: Tensor, channels: int, geometry: Geometry) -> Iterator[slice]:
    per_image = channels * geometry.kernel[0] * geometry.kernel[1] * output.shape[2] * output.shape[3]
    size = max(1, MAX_COLUMNS // max(1, per_image))
    for begin in range(0, len(output), size):
        yield slice(begin, begin + size)


def _patches(inputs: Inputs, part: slice, geometry: Geometry) -> tuple[Tensor, Patches]:
    """Return features of some images, and the taps of their moved kernels."""
    features, offset = working(inputs[0][part]), working(inputs[1][part])
    mask = None if inputs[2] is None else working(inputs[2][part])
    num_images, _, height, width = features.shape
    groups = geometry.deform_groups
    position_y, position_x = _positions(offset, geometry)
    y, weight_y, slope_y = _axis_taps(position_y, height)
    x, weight_x, slope_x = _axis_taps(position_x, width)
    image = torch.arange(num_images, device=y.device).view(-1, 1, 1, 1, 1, 1)
    group = torch.arange(groups, device=y.device).view(-1, 1)
    pixel = ((image * height + y).unsqueeze(-1) * width + x.unsqueeze(-2)).flatten(-2) * groups + group
    pairs = ((weight_y, weight_x), (slope_y, weight_x), (weight_y, slope_x))
    weight, by_y, by_x = (outer_taps(*pair).view(-1, 4) for pair in pairs)
    scale = None if mask is None else _ravel(mask, groups, 1).view(-1, 1)
    return features, Patches(pixel.view(-1, 4), weight, by_y, by_x, scale)


def _positions(offset: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Return where the moved kernel taps lie, y and x, [N, Ho, Wo, K, D] each."""
    moves = _ravel(offset, geometry.deform_groups, 2)  # [N, Ho, Wo, K, D, 2]
    return _grid(moves, geometry, axis=0) + moves[..., 0], _grid(moves, geometry, axis=1) + moves[..., 1]


def on_map(offset: Tensor, size: tuple[int, int], geometry: Geometry) -> Tensor:
    """Tell which offsets, [N, D*K*2, Ho, Wo], leave their tap less than a pixel off a map of size (H, W)."""
    position_y, position_x = _positions(working(offset), geometry)
    inside = (position_y > -1) & (position_y < size[0]) & (position_x > -1) & (position_x < size[1])
    return _unravel(inside.view(-1, 1).expand(-1, 2), geometry.deform_groups, offset)


def _grid(moves: Tensor, geometry: Geometry, axis: int) -> Tensor:
    """Return coordinates of the unmoved kernel taps along an axis, broadcastable to [N, Ho, Wo, K, D]."""
    outputs = torch.arange(moves.shape[1 + axis], device=moves.device) * geometry.stride[axis] - geometry.padding[axis]
    taps = torch.arange(geometry.kernel[axis], device=moves.device) * geometry.dilation[axis]
    rows, columns = geometry.kernel
    taps = taps.repeat_interleave(columns) if axis == 0 else taps.repeat(rows)  # [K]
    outputs = outputs.view(-1, 1, 1, 1) if axis == 0 else outputs.view(1, -1, 1, 1)
    return outputs + taps.view(-1, 1)


def _axis_taps(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper pixel of coordinates [...], their weights and the derivatives of these; [..., 2] each.

    Pixels off the map weigh 0. From a whole pixel off the map on (position <= -1 or >= size) the derivatives are 0 too.
    """
    inside = (position > -1) & (position < size)
    low = torch.where(inside, position, 0).floor()
    fraction = torch.where(inside, position, 0) - low
    pixel = torch.stack([low, low + 1], -1).long()
    counts = inside.unsqueeze(-1) & (pixel >= 0) & (pixel < size)
    weight = torch.stack([1 - fraction, fraction], -1) * counts
    slope = torch.tensor([-1.0, 1.0], dtype=position.dtype, device=position.device) * counts
    return pixel.clamp(0, size - 1), weight, slope


def _columns(features: Tensor, patches: Patches, geometry: Geometry) -> Tensor:
    """Gather what each output position sees, [N*L, K, groups, C / groups]."""
    weight = patches.weight if patches.mask is None else patches.weight * patches.mask
    columns = weighted_rows(_group_table(features, geometry.deform_groups), patches.pixel, weight)
    num_taps = geometry.kernel[0] * geometry.kernel[1]
    return columns.view(-1, num_taps, geometry.groups, features.shape[1] // geometry.groups)


def _spread(grad_columns: Tensor, patches: Patches, features: Tensor) -> Tensor:
    """Return the gradient of the features, [N, C, H, W], from that of the columns, [S, C / D]."""
    num_images, channels, height, width = features.shape
    num_rows = num_images * height * width * (channels // grad_columns.shape[1])
    weight = patches.weight if patches.mask is None else patches.weight * patches.mask
    source = torch.arange(len(grad_columns), device=features.device).repeat_interleave(4)
    table = spread_rows(grad_columns, patches.pixel.flatten(), weight.flatten(), source, num_rows)
    return table.view(num_images, height, width, channels).permute(0, 3, 1, 2)


def _by_position(grad_columns: Tensor, patches: Patches, features: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Return gradients of offsets, [S, 2] as (y, x), and masks, [S, 1], from that of the columns, [S, C / D]."""
    table = _group_table(features, geometry.deform_groups)
    agreement = [(table[pixel] * grad_columns).sum(1) for pixel in patches.pixel.unbind(1)]  # one tap at a time: memory
    by_tap = torch.stack(agreement, 1)  # [S, 4]
    by_offset = torch.stack([(by_tap * patches.slope_y).sum(1), (by_tap * patches.slope_x).sum(1)], 1)
    by_offset = by_offset if patches.mask is None else by_offset * patches.mask
    return by_offset, (by_tap * patches.weight).sum(1, keepdim=True)


def _group_table(features: Tensor, deform_groups: int) -> Tensor:
    """Return features [N, C, H, W] as one row per pixel and deformable group, [N*H*W*D, C / D]."""
    return channels_last_table(features).view(-1, features.shape[1] // deform_groups)


def _grouped(weight: Tensor, geometry: Geometry) -> Tensor:
    """Return weights [O, C / groups, kh, kw] as [groups, O / groups, C / groups, K]."""
    return weight.reshape(geometry.groups, weight.shape[0] // geometry.groups, weight.shape[1], -1)


def _ravel(tensor: Tensor, deform_groups: int, width: int) -> Tensor:
    """Reorder a map per tap, [N, D*K*width, Ho, Wo], to that of `Patches`: [N, Ho, Wo, K, D, width]."""
    num_images, channels, *size = tensor.shape
    split = tensor.reshape(num_images, deform_groups, channels // (deform_groups * width), width, *size)
    return split.permute(0, 4, 5, 2, 1, 3).contiguous()


def _unravel(rows: Tensor, deform_groups: int, like: Tensor) -> Tensor:
    """Undo `_ravel` on its flattened result [S, width], to the shape of `like`, [N, D*K*width, Ho, Wo]."""
    num_images, _, *size = like.shape
    split = rows.reshape(num_images, *size, -1, deform_groups, rows.shape[1])
    return split.permute(0, 4, 3, 5, 1, 2).reshape(like.shape)


def _to_map(rows: Tensor, like: Tensor) -> Tensor:
    """Return outputs by position, [N*L, groups, O / groups], as a map [N, O, Ho, Wo]."""
    num_images, channels, height, width = like.shape
    return rows.reshape(num_images, height, width, channels).permute(0, 3, 1, 2)


def _to_rows(output: Tensor, groups: int) -> Tensor:
    """Undo `_to_map`."""
    return output.permute(0, 2, 3, 1).reshape(-1, groups, output.shape[1] // groups)
