"""Values, figures and durations as people read them in tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ikd.config import sequence_text

MOST_DECIMALS = 6
WHOLE = 1e6
"""Below this a whole number is written with all its digits."""


def readable(value: object, field: str = "") -> str:
    """Write a recipe value in few characters: floats with three digits, lists as YAML has them.

    Args:
        value: plain.
        field: its dotted name; a sequence of teachers reads `r101 (0.3) -> x101`.
    """
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < WHOLE else f"{value:.3g}"
    if (sequence := sequence_text(value, field)) is not None:
        return sequence
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(readable(one, field) for one in value)}]"
    return str(value)


def readable_values(values: Mapping[str, object]) -> str:
    """Write values on one line."""
    return ", ".join(f"{name} {readable(value, name)}" for name, value in values.items())


def percent(value: float | None, *, sign: bool = False, decimals: int = 1) -> str:
    """Write an AP (0..1) as in the papers: times 100, one decimal; what rounds to zero has no sign."""
    if value is None or math.isnan(value):
        return "-"
    text = format(100 * value, f"{'+' if sign else ''}.{decimals}f")
    return text if text.strip("+-0.") else text.lstrip("+-")


def decimals_of(values: Iterable[float | None]) -> int:
    """Return with how many decimals some APs (0..1) are told apart: one, and more while all of them are small."""
    largest = max((100 * abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    decimals = 1
    while 0 < largest < 10 ** (2 - decimals) and decimals < MOST_DECIMALS:
        decimals += 1
    return decimals if largest else 1


def apart(one: float, other: float) -> tuple[str, str]:
    """Write two APs (0..1) with as many decimals as tell them apart, one at least."""
    pairs = [(percent(one, decimals=k), percent(other, decimals=k)) for k in range(1, MOST_DECIMALS + 1)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])


def duration(seconds: float) -> str:
    """Write a duration in the two units that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
