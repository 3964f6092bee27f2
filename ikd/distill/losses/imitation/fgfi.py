"""Fine-grained Feature Imitation (Wang et al., CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.imitation.masked import make_adapter, mean_over_cells
from ikd.distill.losses.weights import Reduction

ADAPTER_STD = 1e-4
"""Standard deviation of the adapter's first weights, as in the authors' code."""


@dataclass(frozen=True)
class Anchors:
    """The anchors of one level.

    Attributes:
        base: [A, 4], corners of those of the first cell, in input pixels.
        stride: by which they move from cell to cell, in input pixels.
    """

    base: Tensor
    stride: float


ATSS_ANCHOR = Anchors(torch.tensor([[-32.0, -32.0, 32.0, 32.0]]), 8.0)
"""ATSS's one anchor a cell of stride 8, a square of eight strides: where no detector says which."""


class FGFI(nn.Module):
    r"""FGFI for one pyramid level: the student's adapted map follows the teacher's on the cells near objects.

    .. math:: L = \frac{\lambda}{2 |I|} \sum_{I} \sum_c (A(S) - T)^2, \quad
        I = \{\text{cells with an anchor } k: \mathrm{IoU}(k, b) > \psi \max_{k'} \mathrm{IoU}(k', b)
        \text{ for an object } b\}

    A is a 3x3 convolution and a ReLU. |I| counts the cells of the batch and not their channels (R7), so that the loss
    of a batch is not the mean of those of its images. An object that no anchor of the level overlaps chooses no cell;
    without objects the loss is 0.

    Args:
        channels: C of both maps.
        psi: share of the best overlap, in [0, 1]; at 1 no cell is above it.
        weight: lambda.
        relu: the ReLU behind the adapter. Published; outputs of an FPN have signs, which a student cannot follow then.
        reduction: `published` counts cells, `mean` cells times channels.
        anchors: of the level; None takes `ATSS_ANCHOR`.

    References:
        Wang et al., Distilling Object Detectors with Fine-grained Feature Imitation, CVPR 2019, Eqs. 1-2;
        `twangnh/Distilling-Object-Detectors`.
    """

    def __init__(
        self,
        channels: int,
        *,
        psi: float,
        weight: float,
        relu: bool,
        reduction: Reduction = "published",
        anchors: Anchors | None = None,
    ) -> None:
        super().__init__()
        self.psi, self.weight, self.relu, self.mean = psi, weight, relu, reduction == "mean"
        self.anchors = anchors or ATSS_ANCHOR
        self.imitator = make_adapter(channels)
        nn.init.trunc_normal_(self.imitator.weight, std=ADAPTER_STD, a=-2 * ADAPTER_STD, b=2 * ADAPTER_STD)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        adapted = self.imitator(student)
        errors = ((adapted.relu() if self.relu else adapted) - teacher).square()
        chosen = near_objects(targets, (student.shape[2], student.shape[3]), self.anchors, self.psi)
        share = mean_over_cells(errors, chosen.to(errors.dtype)) / (student.shape[1] if self.mean else 1)
        return self.weight / 2 * share


@torch.no_grad()
def near_objects(targets: Targets, size: tuple[int, int], anchors: Anchors, psi: float) -> Tensor:
    """Return the cells with an anchor whose IoU with an object is above `psi` times that object's best on this level.

    Args:
        targets: boxes in input pixels.
        size: (H, W) of the map.
        anchors: of the level.
        psi: in [0, 1].

    Returns:
        [N, H, W] bool.
    """
    boxes = targets.padded_boxes
    base = anchors.base.to(boxes)
    down, across = (anchors.stride * torch.arange(count, device=boxes.device) for count in size)
    areas = (base[:, 2:] - base[:, :2]).prod(dim=1)[:, None, None]  # [A, 1, 1]
    chosen = []
    for rows in boxes:  # image by image, as overlaps of all are as large as the maps of all
        in_columns = _common(rows[:, 0::2], base[:, 0::2], across)  # [n, A, W]
        in_rows = _common(rows[:, 1::2], base[:, 1::2], down)  # [n, A, H]
        common = in_rows[..., :, None] * in_columns[..., None, :]  # [n, A, H, W]
        own = (rows[:, 2:] - rows[:, :2]).prod(dim=1)[:, None, None, None]
        overlap = (common / (areas + own - common)).amax(dim=1)  # [n, H, W]
        best = overlap.amax(dim=(1, 2), keepdim=True)
        chosen.append(((overlap > psi * best) & (best > 0)).any(dim=0))
    return torch.stack(chosen)


def _common(boxes: Tensor, anchors: Tensor, shifts: Tensor) -> Tensor:
    """Return lengths that boxes [n, 2] and anchors [A, 2], moved by shifts [K], share along an axis: [n, A, K]."""
    first, last = (anchors[None, :, side, None] + shifts for side in (0, 1))  # [1, A, K]
    return (torch.minimum(last, boxes[:, 1, None, None]) - torch.maximum(first, boxes[:, 0, None, None])).clamp(min=0)
