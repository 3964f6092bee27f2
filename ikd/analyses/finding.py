"""What an analysis has found: numbers, a table for a terminal, and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ikd.errors import BadInput
from ikd.files import write_text
from ikd.trial import Notify, NotifyOf

FORMAT = 1


@dataclass(frozen=True)
class Finding:
    """What an analysis has found.

    Attributes:
        title: of the table.
        heads: of its columns.
        rows: of the table, a text for each column.
        said: lines below the table, for people.
        numbers: all figures, as the JSON file has them.
        files: the picture, then the JSON file.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    said: Sequence[str]
    numbers: Mapping[str, Any]
    files: Sequence[Path]

    def table(self) -> Table:
        """Return the table; it fits 80 columns."""
        table = Table(title=self.title, title_justify="left", title_style="bold")
        for number, head in enumerate(self.heads):
            table.add_column(head, justify="right" if number else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table


def folder_for(to: Path) -> Path:
    """Return the folder that pictures and figures go to, made where it is not there.

    Raises:
        BadInput: it cannot be made.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{to}: must be a folder that can be written, but {error.strerror}") from error
    return to


def write_numbers(path: Path, analysis: str, of: Mapping[str, Any], numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Write the JSON file of an analysis; return its content.

    Args:
        path: of the file.
        analysis: its name.
        of: what was analyzed.
        numbers: what it has found; NaN, where there is no such object, becomes null.
    """
    content = {"format": FORMAT, "analysis": analysis, "of": dict(of)} | known(numbers)
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return content


def known(value: Any) -> Any:
    """Return plain values with null for what is not known."""
    if isinstance(value, Mapping):
        return {str(key): known(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [known(one) for one in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def shown(value: float, digits: int = 1) -> str:
    """Return a figure for a table; `-` where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def told(progress: NotifyOf | None, what: str) -> Notify | None:
    """Return what is told how much of one thing is done."""
    if progress is None:
        return None
    return lambda done, total: progress(what, done, total)
