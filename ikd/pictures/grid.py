"""Photographs in rows and columns with titles, pixel for pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ikd.pictures.style import DPI, FAINT, INK, save

_GAP, _HEAD, _FOOT, _CAPTION = 8, 28, 26, 22
"""Pixels between panels, and of the lines of text above, below and over each panel."""


@dataclass(frozen=True)
class Cell:
    """One panel: its picture [H, W, 3] RGB, what stands over it, and in which colour; None for an empty place."""

    picture: NDArray[np.uint8] | None
    caption: str
    colour: str = INK


def write_grid(path: Path, rows: Sequence[Sequence[Cell]], *, title: str, foot: str) -> None:
    """Write panels as one picture.

    Args:
        path: a `.jpg` or `.png`.
        rows: of panels; columns are as wide as their widest panel, rows as high as their highest.
        title: a line above all.
        foot: a line below all, small.
    """
    columns = range(max(len(row) for row in rows))
    widths = [max((_size(row[i])[1] for row in rows if i < len(row)), default=1) for i in columns]
    heights = [max(_size(cell)[0] for cell in row) for row in rows]
    width = sum(widths) + _GAP * (len(widths) + 1)
    height = _HEAD + _FOOT + sum(heights) + len(rows) * (_CAPTION + _GAP)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.text(_GAP / width, 1 - 6 / height, title, va="top", fontsize=11, weight="bold")
    figure.text(_GAP / width, 6 / height, foot, va="bottom", fontsize=8.5, color=FAINT)
    top = height - _HEAD
    for row, tall in zip(rows, heights, strict=True):
        left = _GAP
        for cell, wide in zip(row, widths, strict=False):
            _draw(figure, cell, (left, top), (width, height))
            left += wide + _GAP
        top -= tall + _CAPTION + _GAP
    save(figure, path)


def _draw(figure: Figure, cell: Cell, place: tuple[int, int], whole: tuple[int, int]) -> None:
    """Draw one panel whose caption begins at left and top `place`, px from the lower left corner of the `whole`."""
    (left, top), (width, height) = place, whole
    style: dict[str, Any] = {"va": "top", "fontsize": 9.5, "color": cell.colour, "weight": "bold"}
    figure.text(left / width, (top - 3) / height, cell.caption, **style)
    if cell.picture is None:
        return
    tall = cell.picture.shape[0]
    figure.figimage(cell.picture, left, top - _CAPTION - tall, origin="upper")


def _size(cell: Cell) -> tuple[int, int]:
    return (1, 1) if cell.picture is None else (cell.picture.shape[0], cell.picture.shape[1])
