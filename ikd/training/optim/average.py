"""The moving average of a student."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.layers import ExpMomentumEMA
from mmengine.model import ExponentialMovingAverage, MomentumAnnealingEMA
from torch import Tensor, nn

from ikd.config import Ema
from ikd.training.averaging import average_statistics

State = dict[str, Any]


class StudentAverage:
    """The average of a detector's weights and running statistics; a detector itself, which predicts.

    mmengine's and mmdet's rules say how much of the student each step takes in. All tensors move at once, and nothing
    waits for a GPU, where theirs move one by one.

    Args:
        settings: of the average.
        student: what is averaged, on its device; the average begins as its copy.
    """

    def __init__(self, settings: Ema, student: nn.Module) -> None:
        self._settings, self._steps = settings, 0
        self._rule = _rule(settings)
        self.module = copy.deepcopy(student).requires_grad_(False).eval()
        self._averaged, self._copied = _tensors(self.module)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Take one step of the student in."""
        averaged, copied = _tensors(student)
        torch._foreach_lerp_(self._averaged, averaged, self._momentum())
        for ours, theirs in zip(self._copied, copied, strict=True):
            ours.copy_(theirs)
        self._steps += 1

    def _momentum(self) -> float:
        """Return the share of the student in this step, by asking the rule to average 0 with 1."""
        share = torch.zeros((), dtype=torch.float64)
        self._rule.steps.fill_(self._steps)
        self._rule.avg_func(share, torch.ones_like(share), self._steps)
        return float(share)

    def share(self) -> None:
        """Bring the running statistics of all processes together; their weights are the same anyway."""
        average_statistics(self.module, learning=False)

    def state_dict(self) -> State:
        """Return the average and its place in the warm-up."""
        return {"model": self.module.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both."""
        self.module.load_state_dict(state["model"])
        self._steps = state["steps"]


def _rule(settings: Ema) -> ExponentialMovingAverage:
    nothing = nn.Identity()
    if settings.warmup == "none":
        return ExponentialMovingAverage(nothing, settings.momentum)
    kind = ExpMomentumEMA if settings.warmup == "exponential" else MomentumAnnealingEMA
    rule: ExponentialMovingAverage = kind(nothing, settings.momentum, gamma=settings.gamma)
    return rule


def _tensors(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return what is averaged, weights and buffers alike, and whole numbers, which are copied."""
    every = [*module.parameters(), *module.buffers()]
    return [one.detach() for one in every if one.is_floating_point()], [
        one for one in every if not one.is_floating_point()
    ]
