"""One way to build every loss: by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ikd.distill.functional import Targets
from ikd.distill.losses.adversarial import Adversarial, Distance
from ikd.distill.losses.amd import AMD, GateSide
from ikd.distill.losses.crosskd import CrossKD
from ikd.distill.losses.cwd import CWD
from ikd.distill.losses.dfmsd import DFMSD, DMKD
from ikd.distill.losses.fbkd import FBKD
from ikd.distill.losses.fgd import FGD
from ikd.distill.losses.fitnet import FitNet
from ikd.distill.losses.mgd import MGD
from ikd.distill.losses.pkd import PKD
from ikd.distill.losses.weights import Reduction
from ikd.errors import BadInput

LOSSES: dict[str, type[nn.Module]] = {
    "adversarial": Adversarial,
    "amd": AMD,
    "crosskd": CrossKD,
    "cwd": CWD,
    "dfmsd": DFMSD,
    "dmkd": DMKD,
    "fbkd": FBKD,
    "fgd": FGD,
    "fitnet": FitNet,
    "mgd": MGD,
    "pkd": PKD,
}
"""Every loss by its name in recipes and search spaces."""

RECONSTRUCTIONS = frozenset({"amd", "dfmsd", "dmkd"})
"""Losses built from a paper without public code: their results must not be reported as the authors' own."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rules() -> dict[str, tuple[str, Callable[[Any], bool]]]:
    """Return what each hyperparameter must be, in words and as a test; names mean the same in every loss."""
    above_0 = ("must be a number above 0", lambda value: _is_number(value) and value > 0)
    weight = ("must be a finite number, 0 or above", lambda value: _is_number(value) and value >= 0)
    share = ("must be a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
    switch = ("must be true or false", lambda value: isinstance(value, bool))
    level = ("must be a whole number, 0 or above", lambda value: type(value) is int and value >= 0)
    weights = ("alpha", "beta", "gamma", "lambda_", "weight", "w_feature", "w_attention", "w_cls")
    choices = {"distance": get_args(Distance), "se_side": get_args(GateSide), "reduction": get_args(Reduction)}
    return {
        **dict.fromkeys(("temperature", "tau"), above_0),
        **dict.fromkeys(weights, weight),
        **dict.fromkeys(("mask_ratio", "spatial_mask_ratio", "channel_mask_ratio"), share),
        **dict.fromkeys(("channel_mask", "se"), switch),
        "level": level,
        **{name: (f"must be one of {', '.join(allowed)}", allowed.__contains__) for name, allowed in choices.items()},
    }


_RULES = _rules()


class AdaptedLoss(nn.Module):
    """A loss behind a 1x1 convolution that brings the student to the teacher's channels; the identity when equal.

    The loss is computed in float32 at least, also under autocast: a sum over a map overflows half precision.
    """

    def __init__(self, loss: nn.Module, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        same = student_channels == teacher_channels
        self.adapter = nn.Identity() if same else nn.Conv2d(student_channels, teacher_channels, 1)
        self.loss = loss

    def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor:
        """Return the weighted loss of one level: student [N, Cs, H, W], teacher [N, Ct, H, W] -> scalar."""
        adapted = self.adapter(student)
        with torch.autocast(student.device.type, enabled=False):
            return self.loss(_full_precision(adapted), _full_precision(teacher.detach()), targets)


def _full_precision(features: Tensor) -> Tensor:
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features


def build_loss(name: str, student_channels: int, teacher_channels: int, **hyperparameters: Any) -> AdaptedLoss:
    """Build the loss `name` for one pyramid level.

    Args:
        name: one of `LOSSES`.
        student_channels: Cs.
        teacher_channels: Ct; a 1x1 adapter is trained when it differs from Cs.
        **hyperparameters: of the loss, by the names in its class; `reduction`, `scale` and `level` where it has them.

    Returns:
        A module: `forward(student, teacher, targets) -> scalar`, weight applied, reduction as published.

    Raises:
        BadInput: unknown loss or hyperparameter, or a value out of its range.
    """
    if name not in LOSSES:
        raise BadInput(f"loss: must be one of {', '.join(LOSSES)}, but got {name!r}")
    cls = LOSSES[name]
    known = [key for key in inspect.signature(cls.__init__).parameters if key not in ("self", "channels")]
    for key, value in sorted(hyperparameters.items()):
        if key not in known:
            raise BadInput(f"loss {name}: has no hyperparameter {key!r}; it has {', '.join(known)}")
        rule, holds = _RULES.get(key, ("", lambda _: True))
        if not holds(value):
            raise BadInput(f"loss {name}: {key}: {rule}, but got {value!r}")
    if takes(name, "channels"):
        hyperparameters["channels"] = teacher_channels
    return AdaptedLoss(cls(**hyperparameters), student_channels, teacher_channels)


def takes(name: str, hyperparameter: str) -> bool:
    """Tell whether loss `name` has `hyperparameter`."""
    return hyperparameter in inspect.signature(LOSSES[name].__init__).parameters
