"""One way to build every loss: by name, from the hyperparameters that its section declares."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from torch import nn

from ikd.config import LOSSES as DECLARED
from ikd.distill.losses.adapted import AdaptedLoss, AdaptedPyramid
from ikd.distill.losses.adversarial import Adversarial
from ikd.distill.losses.amd import AMD
from ikd.distill.losses.contract import broken_rule
from ikd.distill.losses.crosskd import CrossKD
from ikd.distill.losses.cwd import CWD
from ikd.distill.losses.dfmsd import DFMSD, dmkd
from ikd.distill.losses.fbkd import FBKD
from ikd.distill.losses.fgd import FGD
from ikd.distill.losses.fitnet import FitNet
from ikd.distill.losses.imitation.defeat import DeFeat
from ikd.distill.losses.imitation.fgfi import FGFI, Anchors
from ikd.distill.losses.imitation.frs import FRS
from ikd.distill.losses.imitation.gid import GID
from ikd.distill.losses.imitation.icd import ICD
from ikd.distill.losses.imitation.pfi import PFI
from ikd.distill.losses.imitation.rkd import RKD
from ikd.distill.losses.mgd import MGD
from ikd.distill.losses.nad import NAD
from ikd.distill.losses.pkd import PKD
from ikd.distill.losses.sl2 import SL2
from ikd.distill.losses.vkd import VKD
from ikd.distill.losses.weights import Reduction, Scale
from ikd.errors import BadInput, refuse
from ikd.plugins import plugins

LOSSES: Mapping[str, Callable[..., nn.Module]] = {
    "adversarial": Adversarial,
    "amd": AMD,
    "crosskd": CrossKD,
    "cwd": CWD,
    "defeat": DeFeat,
    "dfmsd": DFMSD,
    "dmkd": dmkd,
    "fbkd": FBKD,
    "fgd": FGD,
    "fgfi": FGFI,
    "fitnet": FitNet,
    "frs": FRS,
    "gid": GID,
    "icd": ICD,
    "mgd": MGD,
    "nad": NAD,
    "pkd": PKD,
    "rkd": RKD,
    "rmpfi": PFI,
    "sl2": SL2,
    "vkd": VKD,
}
"""ikd's own losses by their names in recipes and search spaces; their hyperparameters stand in `ikd.config.LOSSES`."""

RECONSTRUCTIONS = frozenset(name for name, section in DECLARED.items() if section.reconstruction)
"""Losses built from a paper without public code: their results must not be reported as the authors' own."""

_BUILDER_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "anchors": ("must be Anchors", lambda value: isinstance(value, Anchors)),
    "level": ("must be a whole number, 0 or above", lambda value: type(value) is int and value >= 0),
    "levels": ("must be whole numbers, 0 or above, rising", lambda value: _is_rising(value)),
    "reduction": (f"must be one of {', '.join(get_args(Reduction))}, variance", get_args(Reduction).__contains__),
    "scale": ("must be a Scale", lambda value: isinstance(value, Scale)),
}
"""What no section has, and a loss may take all the same: what each must be, in words and as a test."""


def build_loss(
    name: str, student_channels: int | Sequence[int], teacher_channels: int | Sequence[int], **hyperparameters: Any
) -> AdaptedLoss | AdaptedPyramid:
    """Build the loss `name` for one pyramid level, or for all of them where it is one of the whole pyramid.

    Args:
        name: of a loss: ikd's own, or another package's.
        student_channels: Cs; of a loss of the whole pyramid (`of_pyramid`) those of each level, or of the one there is.
        teacher_channels: Ct, likewise; a 1x1 adapter is trained when it differs from Cs.
        **hyperparameters: of the loss, by the names in its section, whose defaults stand in for those not given;
            `reduction`, `scale`, `level`, `levels` and `anchors` where the loss has them. Every loss between maps takes
            the reduction `variance`: it then sees both in units of the teacher's standard deviation (see
            `AdaptedLoss`), and sums are means.

    Returns:
        A module: `forward(student, teacher, targets) -> scalar`, weight applied, reduction as published.

    Raises:
        BadInput: unknown loss or hyperparameter, a value out of its range, or another package's loss that breaks the
            contract (see `check_loss`).
    """
    make = _implementation(name)
    by_variance = hyperparameters.get("reduction") == "variance"
    if by_variance:
        own = {"reduction": "mean"} if takes(name, "reduction") else {}
        hyperparameters = {key: value for key, value in hyperparameters.items() if key != "reduction"} | own
    ours, theirs = ([one] if isinstance(one, int) else list(one) for one in (student_channels, teacher_channels))
    arguments = _completed(name, hyperparameters) | {"channels": theirs[0]}
    loss = make(**{key: value for key, value in arguments.items() if takes(name, key)})
    if of_pyramid(name):
        return AdaptedPyramid(loss, ours, theirs, by_deviation=by_variance)
    return AdaptedLoss(loss, ours[0], theirs[0], by_deviation=by_variance)


def of_pyramid(name: str) -> bool:
    """Tell whether one module compares all levels at once, rather than one each."""
    return bool(getattr(_implementation(name), "of_pyramid", False))


def _is_rising(value: Any) -> bool:
    if not (isinstance(value, tuple) and value and all(type(one) is int and one >= 0 for one in value)):
        return False
    return list(value) == sorted(set(value))


def takes(name: str, keyword: str) -> bool:
    """Tell whether the loss `name` has a keyword; what its section has beside acts elsewhere, as `CrossHeads`'s."""
    return keyword in inspect.signature(_implementation(name)).parameters


def check_loss(name: str) -> None:
    """Check that a loss keeps the contract of all losses.

    Another package adds a loss `toy` by an entry point `toy = "toy_kd.section:Toy"` of the group `ikd.losses`, with

        class Toy(ikd.config.Term):  # toy_kd/section.py
            implementation = "toy_kd.loss:ToyLoss"
            weight: ikd.config.Weight = 2.0

        class ToyLoss(torch.nn.Module):  # toy_kd/loss.py
            def __init__(self, *, weight: float) -> None: ...
            def forward(self, student: Tensor, teacher: Tensor, targets: Targets) -> Tensor: ...

    The keywords of the module are the hyperparameters of the section, without defaults, and any of `channels` (of both
    maps), `reduction`, `scale`, `level` (among those that both detectors have, 0 the finest), `levels` (those of them
    that are distilled) and `anchors` (the student's there). Maps are [N, C, H, W] of equal channels; the loss is a
    finite scalar, weight applied, with a gradient to the student. A module with the attribute `of_pyramid` set gets
    lists of maps, all levels at once. What breaks this is refused when the loss is first
    built, and here.

    Raises:
        BadInput: unknown loss, or one that breaks the contract; names the package that it is from.
    """
    make = _implementation(name)
    if (rule := broken_rule(DECLARED[name], make)) is not None:
        raise BadInput(f"loss {name}: {rule}")


@functools.cache
def _implementation(name: str) -> Callable[..., nn.Module]:
    """Return what makes a loss; another package's is imported and checked when it is first asked for."""
    if name not in DECLARED:
        refuse("loss", f"must be one of {', '.join(sorted(DECLARED))}", name)
    if name in LOSSES:
        return LOSSES[name]
    plugin = next(one for one in plugins("ikd.losses") if one.name == name)
    section = DECLARED[name]
    made: Callable[..., nn.Module] = plugin.loaded(section.implementation)
    if (rule := broken_rule(section, made)) is not None:
        plugin.refuse(rule)
    return made


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
            refuse(f"loss {name}: {key}", rule, value)
    declared = {key: value for key, value in given.items() if key not in _BUILDER_RULES}
    try:
        return {**given, **section.model_validate(declared).model_dump()}
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        rule = _rule(section.model_fields.get(field)) or str(fault["msg"]).replace("Input should", "must", 1)
        refuse(f"loss {name}: {field}", rule, fault["input"])


def _rule(field: FieldInfo | None) -> str | None:
    """Say in a person's words what a hyperparameter of a common kind must be; None for other kinds."""
    if field is None:
        return None
    kind: Any = field.annotation
    if kind is bool:
        return "must be true or false"
    if get_origin(kind) is Literal:
        return f"must be one of {', '.join(map(str, get_args(kind)))}"
    marks = itertools.product(field.metadata, ("ge", "gt", "le", "lt", "multiple_of"))
    limits = {key: getattr(mark, key) for mark, key in marks if hasattr(mark, key)}
    words = {
        (float, ("gt",)): "must be a number above {gt:g}",
        (float, ("ge",)): "must be a finite number, {ge:g} or above",
        (float, ("ge", "le")): "must be a number from {ge:g} to {le:g}",
        (int, ("ge",)): "must be a whole number, {ge:g} or above",
        (int, ("ge", "multiple_of")): "must be a whole number, {ge:g} or above, and a multiple of {multiple_of:g}",
    }.get((kind, tuple(limits)))
    return words and words.format(**limits)
