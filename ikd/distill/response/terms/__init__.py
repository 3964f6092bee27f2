"""Losses on the common view of two heads, by name: each written once, for every head that can be viewed so."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import ValidationError
from torch import Tensor

from ikd.config import RESPONSE_LOSSES
from ikd.distill.crosskd import crosskd, crosskd_roi
from ikd.distill.response.terms.distances import ld
from ikd.distill.response.terms.labels import soft_labels
from ikd.distill.response.terms.queries import kd_detr
from ikd.distill.response.terms.scores import bckd, logits, vkd
from ikd.distill.response.terms.surest import dense_teacher
from ikd.distill.views import Assignment, Locations, paired
from ikd.errors import BadInput


class ResponseLoss(Protocol):
    """A loss between two heads."""

    def __call__(self, student: Locations, teacher: Locations, assignment: Assignment) -> dict[str, Tensor]:
        """Return weighted scalars by the name of a part; the teacher is taken as constant."""
        ...


_FUNCTIONS: Mapping[str, Callable[..., dict[str, Tensor]]] = {
    "bckd": bckd,
    "logits": logits,
    "ld": ld,
    "dense_teacher": dense_teacher,
    "soft_labels": soft_labels,
    "crosskd": crosskd,
    "crosskd_roi": crosskd_roi,
    "kd_detr": kd_detr,
    "vkd": vkd,
}
_SETS = ("soft_labels", "crosskd_roi", "kd_detr")
"""Their teachers are sets, or both sides are: there is nothing to pair."""


def _term(name: str, **hyperparameters: Any) -> ResponseLoss:
    """Return the loss `name`; hyperparameters that are not given have the defaults of its section.

    Raises:
        BadInput: an unknown hyperparameter, or a value out of its range.
    """
    complete = _completed(name, hyperparameters)
    function = _FUNCTIONS[name]

    def compare(student: Locations, teacher: Locations, assignment: Assignment) -> dict[str, Tensor]:
        if name not in _SETS:
            student, teacher, assignment = paired(student, teacher, assignment)
        return function(student, teacher, assignment, **complete)

    return compare


def _completed(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    section = RESPONSE_LOSSES[name]
    wanted = inspect.signature(_FUNCTIONS[name]).parameters
    known = [key for key in section.hyperparameters() if key in wanted]
    for key in sorted(given):
        if key not in known:
            raise BadInput(f"response term {name}: has no hyperparameter {key!r}; it has {', '.join(known)}")
    try:
        return section.model_validate(dict(given)).model_dump(include=set(known))
    except ValidationError as error:
        fault = error.errors()[0]
        rule = str(fault["msg"]).replace("Input should", "must", 1)
        raise BadInput(f"response term {name}: {fault['loc'][0]}: {rule}, but got {fault['input']!r}") from None


TERMS: Mapping[str, Callable[..., ResponseLoss]] = {name: functools.partial(_term, name) for name in _FUNCTIONS}
"""`TERMS[name](**hyperparameters)` is the loss of that name."""
