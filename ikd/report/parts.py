"""What a page is made of: elements of tables, charts, pictures and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go


@dataclass(frozen=True)
class Table:
    """Cells for people, all of them text; nothing in them is escaped.

    Attributes:
        key: names its file.
        heads: of the columns.
        rows: of as many cells.
        note: what stands below it.
        words: places of the columns that hold words, which are set to the left; the others hold figures.
        open: rows that are shown before a person asks for all; None shows all.
    """

    key: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: tuple[int, ...] = (0,)
    open: int | None = None


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        figure: of plotly; every text in it is escaped (`charts.plain`).
        said: what it shows, for those who do not see it.
        height: in px.
        small: may stand beside others.
    """

    figure: go.Figure
    said: str
    height: int = 380
    small: bool = False


@dataclass(frozen=True)
class Picture:
    """An image in the page.

    Attributes:
        uri: `data:` address of its content.
        caption: below it.
    """

    uri: str
    caption: str


@dataclass(frozen=True)
class Lines:
    """Sentences, a paragraph each."""

    lines: tuple[str, ...]


Part = Table | Chart | Picture | Lines


@dataclass(frozen=True)
class Element:
    """One thing that a person decides by.

    Attributes:
        key: anchor in the page.
        title: heading.
        lead: what it says, in a sentence or two.
        parts: in order; none where there is nothing to show, and `lead` says why.
        group: of the table of contents.
    """

    key: str
    title: str
    lead: str
    parts: Sequence[Part] = field(default=())
    group: str = ""

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return [part for part in self.parts if isinstance(part, Table)]
