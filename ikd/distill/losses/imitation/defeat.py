"""Decoupled Features (Guo et al., CVPR 2021): the loss between maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ikd.distill.functional import Targets, box_spans
from ikd.distill.losses.imitation.masked import make_adapter, mean_over_cells

FINEST_SIDE = 56.0
"""Side of the smallest box of the second level, over 2, in input pixels: that of mmdet's RoI extractors."""


class DeFeat(nn.Module):
    r"""DeFeat for one pyramid level: the errors inside and outside boxes are averaged apart.

    .. math:: L = \frac1L \Big[ w_o \frac{\sum M d^2}{2 |M|} + w_b \frac{\sum (1-M) d^2}{2 |1-M|} \Big], \quad
        d = A(S) - T

    with A a 3x3 convolution and counts |M| that include channels (R8). A box belongs to the one level
    floor(log2(sqrt(area) / 56)), of those that are distilled: smaller ones to the finest, larger ones to the coarsest.
    On its level M is 1 in the cells that it covers, those of FGD. Sums run over the batch, so that its loss is not the
    mean of those of its images. Training adds the loss of the class scores, by `DecoupledHeads`. Where prototypes act
    within it, M is in each cell the reliability of the most reliable box over it (Table 4 of Tang et al., ECCV 2022).

    Args:
        channels: C of both maps.
        w_object: w_o.
        w_background: w_b.
        level: of the pyramid, 0 the finest.
        levels: those that are distilled, rising; L is their number.

    References:
        Guo et al., Distilling Object Detectors via Decoupled Features, CVPR 2021, Eqs. 3-5; `ggjy/DeFeat.pytorch`.
    """

    def __init__(
        self, channels: int, *, w_object: float, w_background: float, level: int = 0, levels: Sequence[int] = (0,)
    ) -> None:
        super().__init__()
        self.w_object, self.w_background = w_object, w_background
        self.level, self.levels = level, tuple(levels)
        self.imitator = make_adapter(channels)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        errors = (self.imitator(student) - teacher).square()
        in_rows, in_columns, _ = box_spans(targets, (student.shape[2], student.shape[3]))
        in_rows = in_rows * (level_of(targets.padded_boxes, self.levels) == self.level)[..., None]
        inside = (in_rows.transpose(1, 2) @ in_columns > 0).to(errors.dtype)
        counted = inside
        if targets.reliability is not None:
            weights = pad_sequence([*targets.reliability, in_rows.new_zeros(in_rows.shape[1])], batch_first=True)[:-1]
            counted = ((in_rows * weights[..., None])[..., None] * in_columns[..., None, :]).amax(dim=1)
        parts = self.w_object * mean_over_cells(errors, counted.to(errors.dtype))
        parts = parts + self.w_background * mean_over_cells(errors, 1 - inside)
        return parts / (2 * student.shape[1] * len(self.levels))


def level_of(boxes: Tensor, levels: Sequence[int]) -> Tensor:
    """Return the level that each box belongs to, floor(log2(sqrt(area) / 56)) kept within the levels that there are.

    Args:
        boxes: [..., 4] corners in input pixels.
        levels: rising; a level between them that is missing keeps its boxes, so that they are on none of these.

    Returns:
        [...] whole numbers.
    """
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
    level: Tensor = torch.floor(torch.log2(area.sqrt() / FINEST_SIDE + 1e-6))
    return level.clamp(min=levels[0], max=levels[-1])
