"""An optimiser whose parameters are of two kinds: most as the recipe says, and some apart, by an AdamW of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_


class WithApart(torch.optim.Optimizer):
    """One optimiser to everything around it: one list of groups, one state, rates that schedules move.

    What is apart stands at the end of the last group.

    Args:
        optimizer: that of the recipe, over all parameters but those apart.
        apart: parameters of the decoder.
        lr: of these while the recipe's rate is at its peak; it rises and falls with that.
        max_norm: largest L2 norm of their gradients.
        weight_decay: of these.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        apart: Sequence[nn.Parameter],
        *,
        lr: float,
        max_norm: float,
        weight_decay: float,
    ) -> None:
        groups = optimizer.param_groups
        self._own, self._peak, self._apart_lr, self._max_norm = optimizer, groups[-1]["lr"], lr, max_norm
        self._apart = torch.optim.AdamW(apart, lr, weight_decay=weight_decay)
        copies = [{**group} for group in groups]
        copies[-1]["params"] = [*groups[-1]["params"], *apart]
        super().__init__(copies, {key: value for key, value in groups[0].items() if key != "params"})
        self._share_state()

    def _share_state(self) -> None:
        for one in (self._own, self._apart):
            one.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take both steps, at the rates of this moment."""
        for group, own in zip(self.param_groups, self._own.param_groups, strict=True):
            own["lr"] = group["lr"]
        self._apart.param_groups[0]["lr"] = self._apart_lr * self.param_groups[-1]["lr"] / self._peak
        for one in (self._own, self._apart):
            one.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what both know of their parameters."""
        super().load_state_dict(state_dict)
        self._share_state()

    def clip(self, max_norm: float | None) -> Tensor:
        """Clip each kind by its own norm; return the larger norm, before that, of those that are clipped."""
        apart = clip_grad_norm_(self._apart.param_groups[0]["params"], self._max_norm)
        if max_norm is None:
            return apart
        own = [one for group in self._own.param_groups for one in group["params"]]
        return torch.maximum(apart, clip_grad_norm_(own, max_norm))
