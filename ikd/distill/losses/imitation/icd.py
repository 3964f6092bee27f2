"""Instance-Conditional Knowledge Distillation (Kang et al., NeurIPS 2021): the loss between maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Attended, Targets, foreground_mask
from ikd.errors import refuse


class ICD(nn.Module):
    r"""ICD for one pyramid level: the student says what a decoder reads where it looks for the objects.

    .. math:: L = \frac{w}{h} \sum_{heads} \sum_{cells} \bar m \; \mathrm{mean}_d \big( LN(V_T) - LN(V_S) \big)^2

    V_S is a linear map of the student's features into the decoder's width, split into its heads, V_T what the decoder
    reads of the teacher's; LN normalises each head's part of a cell, without weights of its own. m is how much
    attention the queries of an image's objects pay to a cell, divided by its sum over all levels. The loss of a batch
    is the mean of those of its images, 0 for one without objects. Training takes m and V_T from `InstanceDecoder`,
    which learns beside the student; where none says them, m is even over the cells of boxes on this level, and V_T is
    the student's own map of the teacher's features.

    Args:
        channels: C of both maps.
        weight: w.
        dims: width of the decoder.
        heads: h; divides it.

    Raises:
        BadInput: `heads` does not divide `dims`, or into parts of one number.

    References:
        Kang et al., Instance-Conditional Knowledge Distillation for Object Detection, NeurIPS 2021, Eqs. 6-9;
        `megvii-research/ICD`.
    """

    def __init__(self, channels: int, *, weight: float, dims: int, heads: int) -> None:
        super().__init__()
        check_heads(dims, heads, "loss icd: heads")
        self.weight, self.heads = weight, heads
        self.value = nn.Conv2d(channels, dims, 1)

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape."""
        attended = targets.attended or self._in_boxes(teacher, targets)
        ours, theirs = (by_head(side, self.heads) for side in (self.value(student), attended.values))
        errors = (ours - theirs.to(ours.dtype)).square().mean(dim=2)  # [N, heads, H, W]
        return self.weight * (attended.shares.to(errors.dtype) * errors).sum() / (self.heads * len(student))

    @torch.no_grad()
    def _in_boxes(self, teacher: Tensor, targets: Targets) -> Attended:
        inside = (foreground_mask(targets, (teacher.shape[2], teacher.shape[3])) > 0).to(teacher.dtype)
        shares = inside / inside.sum(dim=(1, 2), keepdim=True).clamp(min=1)
        return Attended(self.value(teacher), shares[:, None].expand(-1, self.heads, -1, -1))


def by_head(values: Tensor, heads: int) -> Tensor:
    """Split the channels of [N, D, H, W] into heads, each normalised at each cell: [N, heads, D / heads, H, W]."""
    num_images, dims, height, width = values.shape
    parts = values.view(num_images, heads, dims // heads, height, width).movedim(2, -1)
    return F.layer_norm(parts, parts.shape[-1:]).movedim(-1, 2)


def check_heads(dims: int, heads: int, place: str) -> None:
    """Refuse heads that do not divide the decoder's width, or whose parts of one number are 0 once normalised.

    Raises:
        BadInput: names the place.
    """
    if dims % heads or dims // heads < 2:
        refuse(place, f"must be a divisor of dims ({dims}), and at most half of it", heads)
