"""One way to build every loss: by name."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from ikd.distill.adversarial import Adversarial
from ikd.distill.cwd import CWD
from ikd.distill.fgd import FGD
from ikd.distill.functional import Targets
from ikd.distill.mgd import MGD
from ikd.distill.pkd import PKD
from ikd.errors import BadInput

LOSSES: dict[str, type[nn.Module]] = {"adversarial": Adversarial, "cwd": CWD, "fgd": FGD, "mgd": MGD, "pkd": PKD}
"""Every loss by its name in recipes and search spaces."""


class AdaptedLoss(nn.Module):
    """A loss behind a 1x1 convolution that brings the student to the teacher's channels; the identity when equal."""

    def __init__(self, loss: nn.Module, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        same = student_channels == teacher_channels
        self.adapter = nn.Identity() if same else nn.Conv2d(student_channels, teacher_channels, 1)
        self.loss = loss

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level: student [N, Cs, H, W], teacher [N, Ct, H, W] -> scalar."""
        return self.loss(self.adapter(student), teacher.detach(), targets)


def build_loss(name: str, student_channels: int, teacher_channels: int, **hyperparameters: Any) -> AdaptedLoss:
    """Build the loss `name` for one pyramid level.

    Args:
        name: one of `LOSSES`.
        student_channels: Cs.
        teacher_channels: Ct; a 1x1 adapter is trained when it differs from Cs.
        **hyperparameters: of the loss, by the names in its class; `reduction` and `scale` where it has them.

    Returns:
        A module: `forward(student, teacher, targets) -> scalar`, weight applied, reduction as published.

    Raises:
        BadInput: unknown loss or hyperparameter.
    """
    if name not in LOSSES:
        raise BadInput(f"loss: must be one of {', '.join(LOSSES)}, but got {name!r}")
    cls = LOSSES[name]
    known = [key for key in inspect.signature(cls.__init__).parameters if key not in ("self", "channels")]
    unknown = sorted(set(hyperparameters) - set(known))
    if unknown:
        raise BadInput(f"loss {name}: has no hyperparameter {unknown[0]!r}; it has {', '.join(known)}")
    if "channels" in inspect.signature(cls.__init__).parameters:
        hyperparameters["channels"] = teacher_channels
    return AdaptedLoss(cls(**hyperparameters), student_channels, teacher_channels)


def takes(name: str, hyperparameter: str) -> bool:
    """Tell whether loss `name` has `hyperparameter`."""
    return hyperparameter in inspect.signature(LOSSES[name].__init__).parameters
