"""Neural Attention Distillation (Li et al., ICLR 2021): attention transfer, here between pyramid levels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ikd.distill.functional import Targets

EPSILON = 1e-6
"""Added to the norm of a map, as in the authors' code (`bboylyg/NAD:at.py`)."""


class NAD(nn.Module):
    r"""NAD for one pyramid level: the distance between normalised attention maps, a mean as published (R5).

    .. math:: L = \beta \, \mathrm{mean}\big((\hat A(S) - \hat A(T))^2\big), \quad
        \hat A(X) = A(X) / (\|A(X)\|_2 + 10^{-6}), \quad A(X) = \sum_c |X_c|^p

    The norm is that of each image's map, so the strength of the features does not count.

    Args:
        beta: weight.
        p: power of the magnitudes, at least 1.
    """

    def __init__(self, *, beta: float, p: float) -> None:
        super().__init__()
        self.beta, self.p = beta, p

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level; maps [N, C, H, W] of equal shape. The boxes play no part."""
        return self.beta * F.mse_loss(self._attention(student), self._attention(teacher))

    def _attention(self, features: Tensor) -> Tensor:
        """Return the attention of each image: [N, C, H, W] -> [N, H W]."""
        attention = features.abs().pow(self.p).sum(dim=1).flatten(1)
        return attention / (attention.norm(dim=1, keepdim=True) + EPSILON)
