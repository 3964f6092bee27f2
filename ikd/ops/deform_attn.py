"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, eq. 3), by bilinear grid sampling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ikd.ops.kernel import add_gradients, kernel, working


@kernel
def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Sum the values that every query samples on every level, by their weights.

    Args:
        value: the cells of all levels, finest first, [N, cells, heads, E].
        shapes: (height, width) of each level, [L, 2].
        starts: first cell of each level, [L]; follows from `shapes`.
        locations: x and y, 0..1 from edge to edge of the map, [N, Q, heads, L, points, 2]; nothing is read off it.
        weights: [N, Q, heads, L, points].
        im2col_step: images that the compiled kernel takes at a time; plays no part here.

    Returns:
        [N, Q, heads * E].
    """
    del starts, im2col_step
    sampled = _attend(shapes.tolist(), working(value), working(locations), working(weights))
    return sampled.to(value.dtype)


@kernel
def ms_deform_attn_backward(  # noqa: PLR0913, D417 - mmcv's signature; the first five as in the forward kernel
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_locations: Tensor,
    grad_weights: Tensor,
    im2col_step: int,
) -> None:
    """Add to the gradients of values, locations and weights.

    Args:
        grad_output: gradient of the output, [N, Q, heads * E].
        grad_value: added to, as are the next two.
        grad_locations: likewise.
        grad_weights: likewise.
    """
    del starts, im2col_step
    sizes = shapes.tolist()
    grads = (grad_value, grad_locations, grad_weights)
    add_gradients(lambda *inputs: _attend(sizes, *inputs), (value, locations, weights), grad_output, grads)


def _attend(sizes: Sequence[Sequence[int]], *inputs: Tensor) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch  # what mmcv itself does on a CPU

    value, locations, weights = inputs
    attended: Tensor = multi_scale_deformable_attn_pytorch(value, sizes, locations, weights)
    return attended
