"""Every sum over a pair of maps that FGD needs, in few walks over few maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ikd.distill.functional import scaled_softmax


class Sums(NamedTuple):
    """Sums over student S and teacher T, [N, C, P] each, with D = S - T and w = softmax_p(k S).

    Attributes:
        error: sum_c a D^2, [N, P].
        squared: sum D^2 over everything, scalar.
        difference: sum_p D, [N, C].
        over_channels: sum_c |S|, [N, P].
        over_cells: sum_p |S|, [N, C].
        pooled: sum_p w S, [N, C].
        spatial: s, the teacher's spatial attention, [N, P], without gradient.
        channel: a, the teacher's channel attention, [N, C], without gradient.
    """

    error: Tensor
    squared: Tensor
    difference: Tensor
    over_channels: Tensor
    over_cells: Tensor
    pooled: Tensor
    spatial: Tensor
    channel: Tensor


def sums(student: Tensor, teacher: Tensor, key: Tensor, temperature: float) -> Sums:
    """Compute `Sums`, differentiable once in student and key.

    Args:
        student: S, [N, C, P].
        teacher: T, [N, C, P], taken as constant.
        key: k, [C].
        temperature: of the teacher's attention.
    """
    return Sums(*_Sums.apply(student, teacher, key, temperature))  # type: ignore[no-untyped-call]


def attentions(over_channels: Tensor, over_cells: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return s [N, P] and a [N, C] of FGD from sum_c |X| [N, P] and sum_p |X| [N, C]."""
    cells, channels = over_channels.shape[1], over_cells.shape[1]
    return scaled_softmax(over_channels, channels * temperature), scaled_softmax(over_cells, cells * temperature)


def attention_pool(features: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Return w = softmax_p(k X), [N, P], and sum_p w X, [N, C], of X [N, C, P] and k [C]."""
    where = _over_channels(key.expand(len(features), -1), features).softmax(dim=1)  # key @ features copies the map
    return where, _over_cells(where, features)


def _over_channels(weights: Tensor, features: Tensor) -> Tensor:
    """[N, C], [N, C, P] -> [N, P]; a product with a row is faster than sum(dim=1)."""
    return torch.bmm(weights[:, None], features)[:, 0]


def _over_cells(weights: Tensor, features: Tensor) -> Tensor:
    """[N, P], [N, C, P] -> [N, C]; the other order of factors takes six times as long."""
    return torch.bmm(weights[:, None], features.transpose(1, 2))[:, 0]


class _Sums(torch.autograd.Function):
    """`sums` with its gradient by hand.

    Autograd would write a map for each use of S and add them up. On a CPU a new map costs several times a walk over one
    that is there, so that both directions write into as few as they can, and D is computed twice rather than kept.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, key: Tensor, temperature: float) -> tuple[Tensor, ...]:
        ones = student.new_ones(student.shape[:2])
        work = teacher.abs()
        spatial, channel = attentions(_over_channels(ones, work), work.sum(dim=2), temperature)
        torch.abs(student, out=work)
        over_channels, over_cells = _over_channels(ones, work), work.sum(dim=2)
        torch.sub(student, teacher, out=work)
        difference = work.sum(dim=2)
        work.square_()
        where, pooled = attention_pool(student, key)
        ctx.save_for_backward(student, teacher, key, channel, where, pooled)
        ctx.mark_non_differentiable(spatial, channel)
        error = _over_channels(channel, work)
        return error, work.sum(), difference, over_channels, over_cells, pooled, spatial, channel

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher, key, channel, where, pooled = ctx.saved_tensors
        error, squared, difference, over_channels, over_cells, pool, _, _ = grads
        # dL/dS = 2 D (squared + a error) + sign(S) (over_channels + over_cells) + difference + pool w + k dL/d(k S)
        work = torch.addcmul(2 * squared, 2 * channel[:, :, None], error[:, None])
        grad = torch.sub(student, teacher).mul_(work)
        torch.sign(student, out=work)
        grad.addcmul_(work, over_channels[:, None]).addcmul_(work, over_cells[:, :, None])
        through_softmax = _over_channels(pool, student) - (pool * pooled).sum(dim=1, keepdim=True)
        logits = where * through_softmax  # dL/d(k S), [N, P]
        left = torch.stack([difference, pool, key.expand_as(pool)], dim=2)
        right = torch.stack([torch.ones_like(where), where, logits], dim=1)
        return grad.baddbmm_(left, right), None, _over_cells(logits, student).sum(dim=0), None
