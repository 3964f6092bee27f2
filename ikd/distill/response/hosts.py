"""The hosts that read predictions: from the section of a recipe to what compares two detectors."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from ikd.distill.crosskd.heads import CrossHeads
from ikd.distill.response.heads import DecoupledHeads, RankedHeads, ScoredHeads, ScoreHeads
from ikd.distill.response.instances import InstanceHeads


class SeenLosses(Protocol):
    """What a loss of the student left behind, and what losses of maps are told.

    `importance` of cells is a level of the teacher each; `instances` are boxes that they take for an image's objects.
    """

    @property
    def importance(self) -> Sequence[Tensor]: ...  # noqa: D102

    @property
    def instances(self) -> Sequence[Tensor] | None: ...  # noqa: D102


class Between(Protocol):
    """What compares the heads of a student and a frozen teacher.

    Attributes:
        name: of the host; its losses are called after it.
    """

    name: str

    def capture(self) -> contextlib.AbstractContextManager[Any]:
        """Collect one `student.loss(...)`."""
        ...

    def losses(self, seen: Any, teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses by name: `loss_HOST`, or several that begin so."""
        ...


HEADS: Mapping[str, Callable[..., Between]] = {
    "crosskd": CrossHeads,
    "defeat": DecoupledHeads,
    "frs": ScoredHeads,
    "gid": InstanceHeads,
    "rmpfi": RankedHeads,
    "vkd": ScoreHeads,
}
"""What compares predictions, by the name of the host."""


def between(name: str, student: nn.Module, teacher: nn.Module, **hyperparameters: Any) -> Between:
    """Return what compares the heads of two detectors.

    Args:
        name: of a host that reads predictions.
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        **hyperparameters: of the host, and `reduction`; those that act on maps alone are left to the loss of maps.

    Raises:
        BadInput: their heads do not fit together.
    """
    make = HEADS[name]
    known = inspect.signature(make).parameters
    return make(student, teacher, **{key: value for key, value in hyperparameters.items() if key in known})
