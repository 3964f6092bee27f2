"""What mmdet's objects compute in a step and hand to nobody: noted by standing around one of their methods."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

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


class Call(NamedTuple):
    """One call of a method: its arguments, lists copied as mmdet joins theirs in place, and what it returned."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any


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


def recorded(owner: Any, method: str, into: list[Call]) -> contextlib.AbstractContextManager[None]:
    """Append the calls of a method of an object while the block lasts."""

    def record(compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        asked = tuple(map(kept, args)), {name: kept(value) for name, value in kwargs.items()}
        result = compute(*args, **kwargs)
        into.append(Call(*asked, result))
        return result

    return around(owner, method, record)


def kept(argument: Any) -> Any:
    """Return an argument so that a method does not join its levels in place."""
    return list(argument) if isinstance(argument, list) else argument
