"""What every loss keeps to, whoever wrote it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ikd.config import BUILDER_KEYWORDS, Term
from ikd.distill.functional import Targets
from ikd.distill.losses.adapted import AdaptedLoss, AdaptedPyramid
from ikd.errors import first_line

CHANNELS = 32


def broken_rule(section: type[Term], make: Callable[..., nn.Module]) -> str | None:
    """Return what a loss ought to be and is not; None when it keeps to everything. See `check_loss`.

    Args:
        section: its declaration.
        make: its class, or the function that makes it.
    """
    try:
        keywords = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return f"must be a class derived from torch.nn.Module, but got {make!r}"
    declared = section.hyperparameters()
    for name, keyword in keywords.items():
        if name in declared and keyword.default is not keyword.empty:
            return f"must leave the default of {name} to its section, but got {keyword.default!r}"
        if name not in (*declared, *BUILDER_KEYWORDS):
            allowed = ", ".join((*declared, *BUILDER_KEYWORDS))
            return (
                f"must have no keyword but its section's hyperparameters and the builder's ({allowed}), but got {name}"
            )
    missing = [name for name in declared if name not in keywords]
    if missing and not section.between_heads:
        return f"must have its section's hyperparameter {missing[0]} as a keyword"
    arguments = {**section().model_dump(), "channels": CHANNELS}
    return _tried(lambda: make(**{name: value for name, value in arguments.items() if name in keywords}))


def _tried(make: Callable[[], Any]) -> str | None:
    """Return what is wrong with the loss on random maps; the caller's random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        student, teacher = torch.randn(2, 2, CHANNELS, 8, 8).unbind()
        student.requires_grad_()
        boxes = [torch.tensor([[8.0, 8.0, 40.0, 32.0]]), torch.zeros(0, 4)]
        labels = [torch.zeros(len(rows), dtype=torch.long) for rows in boxes]
        targets = Targets(boxes, labels, (64, 64), torch.tensor([True, False]))
        try:
            loss = make()
            if not isinstance(loss, nn.Module):
                return f"must be a class derived from torch.nn.Module, but made {loss!r}"
            if not callable(getattr(loss, "effective_weight", len)):
                return "must have effective_weight(elements), where it has one, as a method"
            value = _adapted(loss)(student, teacher, targets)
            if not isinstance(value, Tensor) or value.ndim or not value.isfinite():
                shown = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) and value.ndim else repr(value)
                return f"must give a finite scalar, but gave {shown}"
            if value.requires_grad:
                value.backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # somebody else's module may fail in any way
            return f"must take maps [2, {CHANNELS}, 8, 8] and targets: {type(error).__name__}: {first_line(error)}"
    if student.grad is None or not student.grad.isfinite().all():
        return "must give the student a finite gradient"
    return None


def _adapted(loss: nn.Module) -> AdaptedLoss | AdaptedPyramid:
    if getattr(loss, "of_pyramid", False):
        return AdaptedPyramid(loss, [CHANNELS], [CHANNELS], by_deviation=False)
    return AdaptedLoss(loss, CHANNELS, CHANNELS)
