"""The hosts that read predictions: from the section of a recipe to what compares two detectors."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from ikd.config import HOSTS as SECTIONS
from ikd.distill.crosskd import CrossHeads, CrossRegions
from ikd.distill.crosskd.heads import Connector
from ikd.distill.losses.weights import Reduction
from ikd.distill.response.heads import DecoupledHeads, RankedHeads, ScoredHeads, ScoreHeads
from ikd.distill.response.instances import InstanceHeads
from ikd.distill.response.pairing import check_stages, has_two_stages
from ikd.distill.response.surest import SurestCells
from ikd.errors import refuse


class SeenLosses(Protocol):
    """What a loss of the student left behind, and what losses of maps are told.

    `labelled` is set by who knows whether boxes of the images are the truth or the teacher's. `importance` of cells is
    a level of the teacher each; `instances` are boxes that they take for an image's objects.
    """

    labelled: bool

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


def crossing(  # noqa: PLR0913 - the fields of its section
    student: nn.Module,
    teacher: nn.Module,
    *,
    roi: Mapping[str, float],
    position: int,
    connector: Connector,
    w_cls: float,
    w_reg: float,
    beta: float,
    reduction: Reduction,
    asked: str,
    section: str,
) -> Between:
    """Return CrossKD between two dense heads, or between two RoI heads by the settings in `roi`.

    Raises:
        BadInput: one detector of one stage and one of two, heads that do not fit, or weights that would not act.
    """
    check_stages(asked, student, teacher)
    dense, usual = {"w_cls": w_cls, "w_reg": w_reg, "beta": beta}, SECTIONS["crosskd"]().model_dump()
    if has_two_stages(student):
        _refuse_idle(dense, usual, section, f"between two stages {section}.roi acts")
        return CrossRegions(student, teacher, connector=connector, asked=asked, **roi)
    _refuse_idle(roi, usual["roi"], f"{section}.roi", f"between dense heads {section} itself acts")
    return CrossHeads(
        student, teacher, position=position, connector=connector, reduction=reduction, section=section, **dense
    )


def _refuse_idle(given: Mapping[str, float], usual: Mapping[str, Any], where: str, why: str) -> None:
    """Refuse a setting that a person has changed and that does not act.

    Raises:
        BadInput: names it.
    """
    for name, value in given.items():
        if value != usual[name]:
            refuse(f"{where}.{name}", f"must be left at {usual[name]:g}", value, why)


HEADS: Mapping[str, Callable[..., Between]] = {
    "crosskd": crossing,
    "defeat": DecoupledHeads,
    "frs": ScoredHeads,
    "gid": InstanceHeads,
    "rmpfi": RankedHeads,
    "sl2": SurestCells,
    "vkd": ScoreHeads,
}
"""What compares predictions, by the name of the host."""


def between(
    name: str, student: nn.Module, teacher: nn.Module, *, beside: bool = False, **hyperparameters: Any
) -> Between:
    """Return what compares the heads of two detectors.

    Args:
        name: of a host that reads predictions.
        student: mmdet detector.
        teacher: mmdet detector, frozen.
        beside: it is a response term, beside another host.
        **hyperparameters: of the host, and `reduction`; those that act on maps alone are left to the loss of maps.

    Raises:
        BadInput: their heads do not fit together.
    """
    make = HEADS[name]
    known = inspect.signature(make).parameters
    term = f"distill.response.{name}"
    asked, section = (term, term) if beside else (f"distill.host {name}", f"distill.{name}")
    given = {**hyperparameters, "asked": asked, "section": section}
    return make(student, teacher, **{key: value for key, value in given.items() if key in known})
