"""Values, figures and durations as people read them in tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ikd.config import sequence_text


def readable(value: object) -> str:
    """Write a recipe value in few characters: floats with three digits, teachers as `r101 (0.3) -> x101`."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return sequence_text(value) or str(value)


def readable_values(values: Mapping[str, object]) -> str:
    """Write values on one line."""
    return ", ".join(f"{name} {readable(value)}" for name, value in values.items())


def percent(value: float | None, *, sign: bool = False) -> str:
    """Write an AP (0..1) as in the papers: times 100, one decimal."""
    return "-" if value is None or math.isnan(value) else format(100 * value, "+.1f" if sign else ".1f")


def duration(seconds: float) -> str:
    """Write a duration in the two units that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
