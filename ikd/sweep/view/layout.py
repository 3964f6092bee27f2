"""Rows of short cells that end in a long text: beside the cells where all of them have room there, else below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

GAP = 2
_INDENT = " " * 6


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        cells: short texts.
        what: a text of any length.
        style: of rich.
    """

    cells: Sequence[str]
    what: str
    style: str = ""


def widths_of(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the room that columns need, in characters; titles break between words."""
    columns = zip(*rows, strict=True) if rows else [()] * len(titles)
    return [max(len(text) for text in [*title.split(), *cells]) for title, cells in zip(titles, columns, strict=True)]


def across(widths: Sequence[int]) -> int:
    """Return the room that columns need together, in characters."""
    return sum(widths) + GAP * (len(widths) - 1)


def laid_out(titles: Sequence[str], rows: Sequence[Row], width: int) -> tuple[list[Text], list[Text]]:
    """Return the lines of the head, and a text for each row, of one line or more; nothing is cut.

    Args:
        titles: of the columns; as many as each row has cells.
        rows: in their order.
        width: of the terminal, in characters.
    """
    widths = widths_of(titles, [row.cells for row in rows])
    beside = across(widths) + GAP + max((len(row.what) for row in rows), default=0) <= width
    head = [Text(line, style="bold") for line in _head(titles, widths)]
    return head, [_row(row, widths, width, beside=beside) for row in rows]


def _row(row: Row, widths: Sequence[int], width: int, *, beside: bool) -> Text:
    line = _joined(row.cells, widths)
    if beside:
        return Text(f"{line}{' ' * GAP}{row.what}", style=row.style)
    below = textwrap.fill(
        row.what, max(width, 20), initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
    )
    return Text(f"{line}\n{below}", style=row.style)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (" " * GAP).join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _head(titles: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the lines of the head, the last of each title on the last line."""
    parts = [textwrap.wrap(title, width) for title, width in zip(titles, widths, strict=True)]
    high = max(map(len, parts))
    lines = zip(*[[""] * (high - len(part)) + part for part in parts], strict=True)
    return [_joined(line, widths) for line in lines]
