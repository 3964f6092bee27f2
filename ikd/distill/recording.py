"""What mmdet's objects compute in a step and hand to nobody: noted by standing around one of their methods."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from torch import nn


@contextlib.contextmanager
def outputs_of(module: nn.Module, into: list[Any]) -> Iterator[None]:
    """Append what the forward of a module returns while the block lasts."""

    def keep(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        into.append(outputs)

    hook = module.register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def expect_one_loss(found: bool) -> None:
    """Say what a capture is for, where what it found is not that of one `student.loss(...)`.

    Raises:
        RuntimeError: it is not.
    """
    if not found:
        raise RuntimeError("a capture takes exactly one student.loss(...)")


class HasTargets(Protocol):
    """What keeps what a head's `get_targets` was called with, and what it returned."""

    targets: tuple[Any, ...] | None
    asked: tuple[tuple[Any, ...], dict[str, Any]] | None


@contextlib.contextmanager
def around(owner: Any, method: str, call: Callable[..., Any]) -> Iterator[None]:
    """Let `call(compute, *arguments)` answer for a method, `compute`, of one object while the block lasts."""
    compute, outer = getattr(owner, method), vars(owner).get(method)
    setattr(owner, method, partial(call, compute))  # on the instance, over the class's
    try:
        yield
    finally:
        delattr(owner, method)
        if outer is not None:  # somebody else's around this one
            setattr(owner, method, outer)


def recorded(owner: Any, method: str, into: list[Any]) -> contextlib.AbstractContextManager[None]:
    """Append what a method of an object returns while the block lasts."""

    def record(compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = compute(*args, **kwargs)
        into.append(found)
        return found

    return around(owner, method, record)


def own_targets(head: Any, seen: HasTargets) -> contextlib.AbstractContextManager[None]:
    """Record what `head.get_targets` is called with and returns while the block lasts."""

    def record(compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        seen.asked = tuple(map(kept, args)), {name: kept(value) for name, value in kwargs.items()}
        targets = compute(*args, **kwargs)
        seen.targets = tuple(targets)
        return targets

    return around(head, "get_targets", record)


def kept(argument: Any) -> Any:
    """Return an argument of `get_targets` so that a head does not join its levels in place."""
    return list(argument) if isinstance(argument, list) else argument
