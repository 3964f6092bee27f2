"""Texts of data sets, recipes and sweeps of others on a terminal: nothing in them is a command to it."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, and those that turn the direction of what is written."""


def visible(text: str) -> str:
    """Return a text with what a terminal would obey (colours, titles, a cursor that goes back) written out."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
