"""A learning curve in characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ikd.sweep.records.text import decimals_of, percent

MARKS = "●·"
"""Of the first curve, and of the second, which lies behind it."""
Curve = Sequence[tuple[int, float]]
"""Epochs, from 1 and rising, with an AP (0..1) each."""


def plotted(curves: Sequence[Curve], *, width: int, height: int = 8) -> list[str]:
    """Draw one or two curves over their epochs; values are written times 100.

    Args:
        curves: the one to look at, and one to compare it with; values that are not finite are left out.
        width: of all, in characters; wide enough for 20.
        height: of the drawing, in lines.

    Returns:
        Lines of text; none where there is no value.
    """
    kept = [[(epoch, value) for epoch, value in curve if math.isfinite(value)] for curve in curves]
    values = [value for curve in kept for _, value in curve]
    if not values:
        return []
    low, high, last = min(values), max(values), max(epoch for curve in kept for epoch, _ in curve)
    decimals = decimals_of(values)
    labels = [percent(high, decimals=decimals), percent(low, decimals=decimals)]
    room = max(map(len, labels))
    columns = min(max(1, width - room - 2), max(last, 1) * 4)
    cells = [[" "] * columns for _ in range(height)]
    for curve, mark in reversed([*zip(kept, MARKS, strict=False)]):
        for epoch, value in curve:
            column = round((epoch - 1) / max(1, last - 1) * (columns - 1))
            line = round((high - value) / (high - low) * (height - 1)) if high > low else height // 2
            cells[line][column] = mark
    heads = [labels[0], *[""] * (height - 2), labels[1]] if high > low else [""] * height
    if high == low:
        heads[height // 2] = labels[0]
    drawn = [f"{head:>{room}} ┤{''.join(line)}".rstrip() for head, line in zip(heads, cells, strict=True)]
    end = f"epoch {last}"
    foot = f"{'1':<{max(1, columns - len(end))}}{end}" if columns > len(end) + 1 and last > 1 else end
    return [*drawn, " " * room + " └" + "─" * columns, " " * (room + 2) + foot]
