"""Which parameters of a test run always, and which with the slow ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(values: Iterable[Any], count: int) -> list[Any]:
    """Return all values as parameters: the first `count` run always, the rest with the slow tests."""
    rest = pytest.mark.slow
    return [
        value if place < count else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=rest)
        for place, value in enumerate(values)
    ]
