"""What turns named losses into a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn

from ikd.distill.terms import Batch


class Stepping(Protocol):
    """What turns losses into a step, as mmengine's optimiser wrappers do; see `ikd.training.optim`."""

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]: ...  # noqa: D102

    def losses(self, model: Any, data: Batch) -> dict[str, Any]: ...  # noqa: D102

    def backward(self, loss: Tensor) -> None: ...  # noqa: D102

    def clip(self) -> Tensor | None: ...  # noqa: D102

    def step(self) -> None: ...  # noqa: D102

    def zero_grad(self) -> None: ...  # noqa: D102


class Average(Protocol):
    """A moving average of the student; see `ikd.training.optim`."""

    @property
    def module(self) -> nn.Module: ...  # noqa: D102

    def update(self, student: nn.Module) -> None: ...  # noqa: D102

    def share(self) -> None: ...  # noqa: D102

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102


def counts(name: str) -> bool:
    """Tell whether a named value is a loss that the total is the sum of."""
    return "loss" in name and name != "loss"


def broken(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return those of named scalars that are not finite."""
    read = {name: float(value.detach()) for name, value in values.items()}
    return {name: value for name, value in read.items() if not math.isfinite(value)}
