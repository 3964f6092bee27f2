"""Python text of plain values, in the style of mmdet's own config files."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ikd.errors import BadInput

_WIDTH = 110
_INDENT = "    "


def assignment(name: str, value: Any) -> str:
    """Return `name = value` as a line of Python, broken over several where it is long.

    Args:
        name: a variable.
        value: numbers, texts, None, and lists, tuples and mappings of them.

    Raises:
        BadInput: the value holds something else, which a plain config file cannot say.
    """
    return f"{name} = {_text(value, name, used=len(name) + 3, depth=0)}\n"


def python_text(value: str) -> str:
    """Return a text as Python writes it."""
    return _scalar(value, "")


def _text(value: Any, place: str, *, used: int, depth: int) -> str:
    """Return Python text; `used` characters of the line are taken, `depth` is the indentation of that line."""
    opening, parts, closing = _parts(value, place)
    if opening == "":
        return parts[0][1]
    flat = opening + ", ".join(prefix + _flat(item, f"{place}.{prefix}") for prefix, item in parts) + closing
    if isinstance(value, tuple) and len(value) == 1:
        flat = flat[:-1] + ",)"
    if used + len(flat) <= _WIDTH or not parts:
        return flat
    margin = _INDENT * (depth + 1)
    lines = [
        f"{margin}{prefix}{_text(item, f'{place}.{prefix}', used=len(margin + prefix) + 1, depth=depth + 1)},\n"
        for prefix, item in parts
    ]
    return f"{opening}\n{''.join(lines)}{_INDENT * depth}{closing}"


def _flat(value: Any, place: str) -> str:
    return _text(value, place, used=-(10**9), depth=0)


def _parts(value: Any, place: str) -> tuple[str, list[tuple[str, Any]], str]:
    """Return bracket, prefixed items and bracket; for a single value no brackets and its text as the only item."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value):
            return "dict(", [(f"{key}=", item) for key, item in value.items()], ")"
        return "{", [(f"{_scalar(key, place)}: ", item) for key, item in value.items()], "}"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        brackets = "()" if isinstance(value, tuple) else "[]"
        return brackets[0], [("", item) for item in value], brackets[1]
    return "", [("", _scalar(value, place))], ""


def _scalar(value: Any, place: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if value is None or type(value) in (bool, int, float, str):
        return repr(value).replace("{{", "{\\x7b")  # mmengine fills in what stands in {{ }}, in texts too
    where = place.replace("=", "").replace(": ", "").rstrip(".")
    raise BadInput(
        f"{where}: a plain config holds numbers, texts, lists and mappings, but got {value!r} of type "
        f"{type(value).__name__}; name it as text in the student's config"
    )
