"""Texts of data sets and recipes in Markdown: they read as they are, whatever marks or HTML they hold."""

from __future__ import annotations

import re

from ikd.visible import visible

_MARKS = re.compile(r"[\\`*\[\]<>|]")


def plain(value: object) -> str:
    """Return a value as a text on one line, also in a cell of a table, that stands for nothing but itself."""
    return _MARKS.sub(lambda mark: rf"\{mark[0]}", _one_line(value))


def code(value: object) -> str:
    """Return a value as code on one line, also in a cell of a table."""
    text = _one_line(value)
    ticks = "`" * (_longest_run(text) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}".replace("|", r"\|")


def block(text: str, language: str) -> str:
    """Return lines of code that nothing in them can end."""
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}{language}\n{text}{ticks}\n"


def _one_line(value: object) -> str:
    return visible(" ".join(str(value).splitlines()))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
