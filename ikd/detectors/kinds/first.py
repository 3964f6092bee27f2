"""Changing what single modules of mmdet do, under their own names."""

from __future__ import annotations

import functools
from typing import Any


def put_first(methods: Any, module: Any) -> None:
    """Let a module's methods be looked for in a class of ours before its own, whose name it keeps."""
    kind: Any = type(module)
    module.__class__ = _mixed(methods, kind)


@functools.cache
def _mixed(methods: Any, of: Any) -> Any:
    return type(of.__name__, (methods, of), {"__module__": of.__module__})
