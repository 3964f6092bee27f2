"""Weights of terms that follow how well each agrees with detection: a stand-in of ours for ReAL, no reproduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class Agreement(nn.Module):
    r"""Factors on the losses of terms: a term counts more while it pulls the student where detection pulls it.

    .. math:: c_k \leftarrow (1 - \eta) c_k + \eta \cos(g_{det}, g_k), \quad
        f_k = f_{max}^{c_k} \text{ where } c_k \ge 0, \text{ else } f_{min}^{-c_k}

    in every step, before the losses of its batch are weighed, with g the gradients on the trained weights of the
    student's neck, which both sides share. c is 0 at first, so that f is 1, and a buffer: a checkpoint holds it.

    STAND-IN for the dynamic weights of ReAL (Wang et al., IEEE TIP 2024), of which no more than the abstract is known.

    Where a gradient is not finite (a scaled loss in half precision may overflow) or 0, its c stays. Of several
    processes each compares the gradients of its part of the batch, and all take the mean of their cosines.

    Args:
        names: of the terms.
        eta: speed, above 0 and at most 1: 1 looks at the last step alone.
        lowest: f_min, in (0, 1]: of a term that pulls against detection throughout.
        highest: f_max, 1 or more: of one that pulls as detection does.

    Attributes:
        latest: factors of the terms of the last batch, by name: scalars on their device.
    """

    cosines: Tensor

    def __init__(self, names: Sequence[str], *, eta: float, lowest: float, highest: float) -> None:
        super().__init__()
        self.names, self.eta, self.lowest, self.highest = tuple(names), eta, lowest, highest
        self.register_buffer("cosines", torch.zeros(len(self.names)))
        self.latest: dict[str, Tensor] = {}

    def forward(
        self,
        detection: Tensor,
        terms: Mapping[str, Tensor],
        shared: Sequence[Tensor],
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
    ) -> dict[str, Tensor]:
        """Move the factors by one batch, and return those of its terms.

        Args:
            detection: the sum of the student's own losses, a scalar of a graph, which is kept.
            terms: scalars of the same graph, by name.
            shared: weights on which gradients are compared.
            scale: what losses go through before they are differentiated.
        """
        if terms:
            own = _gradient(scale(detection), shared)
            cosines = torch.stack([_cosine(own, _gradient(scale(loss), shared)) for loss in terms.values()])
            all_reduce(cosines, op="mean")
            places = torch.tensor([self.names.index(name) for name in terms], device=self.cosines.device)
            before = self.cosines[places]
            moved = before.lerp(cosines.to(before.dtype), self.eta)
            self.cosines[places] = torch.where(cosines.isnan(), before, moved)
            self.latest = dict(zip(terms, self.factors[places].unbind(), strict=True))
        return self.latest

    @property
    def factors(self) -> Tensor:
        """The factors of all terms, [K]."""
        agree, oppose = self.highest ** self.cosines.clamp(min=0), self.lowest ** -self.cosines.clamp(max=0)
        return torch.where(self.cosines >= 0, agree, oppose)


def shared_weights(student: Any) -> list[Tensor]:
    """Return the weights on which detection and distillation are compared: the trained ones of the student's neck."""
    neck = getattr(student, "neck", None)
    return [] if neck is None else [one for one in neck.parameters() if one.requires_grad]


def _gradient(loss: Tensor, shared: Sequence[Tensor]) -> Tensor:
    """Return the gradient as one vector; 0 in weights that the loss does not depend on."""
    if not loss.requires_grad:
        return torch.cat([torch.zeros_like(one).flatten() for one in shared])
    found = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
    parts = (torch.zeros_like(one) if part is None else part for one, part in zip(shared, found, strict=True))
    return torch.cat([part.flatten().float() for part in parts])


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosine of two vectors; NaN where one is 0 or not finite."""
    units = []
    for vector in (one, other):
        even = vector / vector.abs().max()  # squares of a gradient in half precision may be too small, or too large
        units.append(even / torch.linalg.vector_norm(even))
    return torch.dot(*units)
