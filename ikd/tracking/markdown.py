"""Names of data, paths and values in Markdown: whatever they hold, they are read as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ikd.visible import visible

_INLINE = re.compile(r"[\\`*{}\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BEGINNING = re.compile(r"^(\d*)([-+#.)])")
_BREAKS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")


def plain(text: object) -> str:
    """Return text that Markdown shows as it is, on one line: no emphasis, link, heading, cell or HTML of its own."""
    return _BEGINNING.sub(r"\1\\\2", cell(text))


def cell(text: object) -> str:
    """Return such text for the inside of a line or of a table, where no list or heading can begin: -0.3 stays -0.3."""
    line = visible(_BREAKS.sub(" ", str(text))).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _INLINE.sub(lambda found: f"\\{found[0]}", line)


def code(text: object) -> str:
    """Return text between backticks, more of them than it holds in a row; good inside of a table, too."""
    line = visible(_BREAKS.sub(" ", str(text))).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence, gap = "`" * (longest + 1), " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def block(text: str, language: str) -> str:
    """Return lines of code that nothing in them can end."""
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{visible(text)}{fence}\n"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return a table of cells that are Markdown already.

    Args:
        titles: of the columns.
        rows: cells of each row.
        right: columns of numbers, from 0.
    """
    numbers = set(right)
    rules = ["---:" if index in numbers else "---" for index in range(len(titles))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (titles, rules, *rows))
