"""One way to build every loss: by name."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from ikd.config import LOSSES as DECLARED
from ikd.distill.functional import Targets
from ikd.distill.losses.adversarial import Adversarial
from ikd.distill.losses.amd import AMD
from ikd.distill.losses.crosskd import CrossKD
from ikd.distill.losses.cwd import CWD
from ikd.distill.losses.dfmsd import DFMSD, dmkd
from ikd.distill.losses.fbkd import FBKD
from ikd.distill.losses.fgd import FGD
from ikd.distill.losses.fitnet import FitNet
from ikd.distill.losses.mgd import MGD
from ikd.distill.losses.pkd import PKD
from ikd.distill.losses.weights import Reduction, Scale
from ikd.errors import BadInput

LOSSES: Mapping[str, Callable[..., nn.Module]] = {
    "adversarial": Adversarial,
    "amd": AMD,
    "crosskd": CrossKD,
    "cwd": CWD,
    "dfmsd": DFMSD,
    "dmkd": dmkd,
    "fbkd": FBKD,
    "fgd": FGD,
    "fitnet": FitNet,
    "mgd": MGD,
    "pkd": PKD,
}
"""Every loss by its name in recipes and search spaces."""

RECONSTRUCTIONS = frozenset(name for name, section in DECLARED.items() if section.reconstruction)
"""Losses built from a paper without public code: their results must not be reported as the authors' own."""


_BUILDER_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "level": ("must be a whole number, 0 or above", lambda value: type(value) is int and value >= 0),
    "reduction": (f"must be one of {', '.join(get_args(Reduction))}", get_args(Reduction).__contains__),
    "scale": ("must be a Scale", lambda value: isinstance(value, Scale)),
}
"""What no section has, and a loss may take all the same: what each must be, in words and as a test."""


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
        **hyperparameters: of the loss, by the names in its section, whose defaults stand in for those not given;
            `reduction`, `scale` and `level` where the loss has them.

    Returns:
        A module: `forward(student, teacher, targets) -> scalar`, weight applied, reduction as published.

    Raises:
        BadInput: unknown loss or hyperparameter, or a value out of its range.
    """
    if name not in LOSSES:
        raise BadInput(f"loss: must be one of {', '.join(LOSSES)}, but got {name!r}")
    arguments = _completed(name, hyperparameters) | {"channels": teacher_channels}
    loss = LOSSES[name](**{key: value for key, value in arguments.items() if takes(name, key)})
    return AdaptedLoss(loss, student_channels, teacher_channels)


def takes(name: str, keyword: str) -> bool:
    """Tell whether the loss `name` has a keyword; what its section has beside acts elsewhere, as `CrossHeads`'s."""
    return keyword in inspect.signature(LOSSES[name]).parameters


def _completed(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a loss, checked, those of its section all.

    Raises:
        BadInput: an unknown name, or a value out of its range.
    """
    section = DECLARED[name]
    known = (*section.hyperparameters(), *(key for key in _BUILDER_RULES if takes(name, key)))
    for key, value in sorted(given.items()):
        if key not in known:
            raise BadInput(f"loss {name}: has no hyperparameter {key!r}; it has {', '.join(known)}")
        rule, holds = _BUILDER_RULES.get(key, ("", lambda _: True))
        if not holds(value):
            raise BadInput(f"loss {name}: {key}: {rule}, but got {value!r}")
    declared = {key: value for key, value in given.items() if key not in _BUILDER_RULES}
    try:
        return {**given, **section.model_validate(declared).model_dump()}
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        rule = _rule(section.model_fields.get(field)) or str(fault["msg"]).replace("Input should", "must", 1)
        raise BadInput(f"loss {name}: {field}: {rule}, but got {fault['input']!r}") from error


def _rule(field: FieldInfo | None) -> str | None:
    """Say in a person's words what a hyperparameter of a common kind must be; None for other kinds."""
    if field is None:
        return None
    kind: Any = field.annotation
    if kind is bool:
        return "must be true or false"
    if get_origin(kind) is Literal:
        return f"must be one of {', '.join(map(str, get_args(kind)))}"
    marks = itertools.product(field.metadata, ("ge", "gt", "le", "lt"))
    limits = {key: getattr(mark, key) for mark, key in marks if hasattr(mark, key)}
    words = {
        (float, ("gt",)): "must be a number above {gt:g}",
        (float, ("ge",)): "must be a finite number, {ge:g} or above",
        (float, ("ge", "le")): "must be a number from {ge:g} to {le:g}",
        (int, ("ge",)): "must be a whole number, {ge:g} or above",
    }.get((kind, tuple(limits)))
    return words and words.format(**limits)
