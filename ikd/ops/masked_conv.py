"""Convolution at chosen cells only (Guided Anchoring, at prediction): their patches, and putting results back."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ikd.ops.kernel import kernel


@kernel
def masked_im2col_forward(  # noqa: PLR0913 - mmcv's signature
    image: Tensor,
    rows: Tensor,
    columns: Tensor,
    output: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write the patch at each of M cells into a column.

    Args:
        image: [1, C, H, W].
        rows: y of the cells, 0..H-1, [M].
        columns: x of the cells, 0..W-1, [M].
        output: written, [C * kernel_h * kernel_w, M]; zeros off the map.
        kernel_h: rows of a patch.
        kernel_w: columns of a patch.
        pad_h: how far above its cell a patch begins.
        pad_w: how far left of its cell a patch begins.
    """
    padded = F.pad(image[0], (pad_w, kernel_w, pad_h, kernel_h))
    patches = padded.unfold(1, kernel_h, 1).unfold(2, kernel_w, 1)[:, rows, columns]  # [C, M, kernel_h, kernel_w]
    output.copy_(patches.permute(0, 2, 3, 1).reshape(output.shape))


@kernel
def masked_col2im_forward(values: Tensor, rows: Tensor, columns: Tensor, output: Tensor, **sizes: int) -> None:
    """Write values, [C, M], to the M cells of `output`, [1, C, H, W], whose `sizes` mmcv names once more."""
    del sizes
    output[0, :, rows, columns] = values
