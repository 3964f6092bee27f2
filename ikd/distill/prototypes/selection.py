"""Prototype generation (PGM) of Global Knowledge: few instances of a class stand for all, in both feature spaces.

Tang et al., ECCV 2022, arXiv 2210.09022, Eq. 2. Instances are rows; those of the teacher and of the student at one
index are the same box. Everything is deterministic and computed in the type and on the device of the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 1024
"""Rows of a similarity matrix that are held at once."""


@dataclass(frozen=True)
class Selection:
    """What a class is reconstructed from.

    Attributes:
        indices: chosen instances in the order of their choice, [k] (long).
        objective: before the first and after each choice what that choice made smallest, [k + 1]: the squares of the
            residuals, and lambda (u - v)^2 of its own coefficients.
    """

    indices: Tensor
    objective: Tensor


def unit(features: Tensor) -> Tensor:
    """Return rows of length 1, [n, d]; a row of zeros stays one."""
    return F.normalize(features, dim=1)


def density(features: Tensor, bandwidth: float) -> Tensor:
    """Return rho_i = sum_j exp(-((1 - cos_ij) / bandwidth)^2), [n], itself counted; `ROWS` rows at a time.

    Args:
        features: of instances, [n, d].
        bandwidth: above 0, in units of 1 - cosine.
    """
    rows = unit(features)
    parts = [torch.exp(-(((1 - part @ rows.T) / bandwidth) ** 2)).sum(dim=1) for part in torch.split(rows, ROWS)]
    return torch.cat(parts) if parts else rows.new_zeros(0)


def dense(teacher: Tensor, student: Tensor, *, bandwidth: float, quantile: float) -> Tensor:
    """Return the instances that lie among others in both spaces: the candidates, ascending, [c] (long).

    Their density is above the int(quantile n)-th smallest (from 0). Where no instance is, all are candidates: two
    spaces need not agree, and the authors' code fails there.

    Args:
        teacher: features, [n, d].
        student: features of the same instances, [n, e].
        bandwidth: of the density.
        quantile: in [0, 1).
    """
    count = len(teacher)
    if count == 0:
        return torch.zeros(0, dtype=torch.long, device=teacher.device)
    kept = torch.ones(count, dtype=torch.bool, device=teacher.device)
    for features in (teacher, student):
        rho = density(features, bandwidth)
        kept &= rho > rho.sort().values[int(quantile * count)]
    chosen = kept.nonzero().flatten()
    return chosen if len(chosen) else torch.arange(count, device=teacher.device)


def ridge(teacher: Tensor, student: Tensor, a: Tensor, b: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Return the coefficients u and v, [n] each, that reconstruct residuals best from one prototype.

    The minimum of |r - u a|^2 + |q - v b|^2 + strength (u - v)^2, a 2x2 system in closed form.

    Args:
        teacher: residuals r, [n, d].
        student: residuals q, [n, e].
        a: the prototype in the teacher's space, [d].
        b: in the student's, [e].
        strength: lambda, 0 or more: how much the two must agree.
    """
    p, q = teacher @ a, student @ b
    first, second = a @ a + strength, b @ b + strength
    whole = first * second - strength**2
    if whole <= 0:  # a prototype of zeros, at strength 0
        return torch.zeros_like(p), torch.zeros_like(q)
    return (second * p + strength * q) / whole, (first * q + strength * p) / whole


def greedy(teacher: Tensor, student: Tensor, candidates: Tensor, *, count: int, strength: float) -> Selection:
    """Choose prototypes one by one, each the candidate that lowers Eq. 2 most; none is chosen twice.

    With unit lengths the gain of a candidate is sum_i [(1 + lambda)(p_i^2 + q_i^2) + 2 lambda p_i q_i] / (1 + 2
    lambda). The sums over instances are quadratic forms of the candidate in the residuals' second moments, so that no
    table of candidates by instances is held: memory is that of the features, and a step takes O((c + n) d^2).

    Args:
        teacher: features, [n, d]; brought to length 1.
        student: of the same instances, [n, e]; brought to length 1.
        candidates: indices of those that may be chosen, [c].
        count: K, largest number of prototypes.
        strength: lambda of Eq. 2, 0 or more.
    """
    r, q = unit(teacher), unit(student)
    a, b = r[candidates], q[candidates]
    first, second = (a * a).sum(1) + strength, (b * b).sum(1) + strength
    whole = first * second - strength**2
    left = whole > 0
    chosen: list[Tensor] = []
    objective = [_squares(r, q)]
    for _ in range(min(count, len(candidates))):
        forms = second * _form(a, r.T @ r, a) + 2 * strength * _form(a, r.T @ q, b) + first * _form(b, q.T @ q, b)
        gains = torch.where(left, forms / whole.where(whole > 0, whole.new_ones(())), -torch.inf)
        best = gains.argmax()
        if not left.any():
            break
        u, v = ridge(r, q, a[best], b[best], strength)
        objective.append(_squares(r, q) - gains[best])
        r, q = r - u[:, None] * a[best], q - v[:, None] * b[best]
        left = left & (torch.arange(len(left), device=left.device) != best)
        chosen.append(candidates[best])
    indices = torch.stack(chosen) if chosen else candidates.new_zeros(0)
    return Selection(indices, torch.stack(objective))


def _squares(r: Tensor, q: Tensor) -> Tensor:
    return (r * r).sum() + (q * q).sum()


def _form(left: Tensor, moments: Tensor, right: Tensor) -> Tensor:
    """Return the bilinear form of each pair of rows, [c]."""
    return ((left @ moments) * right).sum(dim=1)
