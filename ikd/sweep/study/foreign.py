"""A sweep's folder that somebody else has made: it writes nowhere else, and no file of it takes all the memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from ikd.errors import BadInput

MOST_VALUES = 500_000
"""Values of sweep.yaml, aliases counted as often as they are used."""
DEEPEST = 60


def refuse_links(folder: Path, home: Path) -> None:
    """Refuse a sweep's folder in which a link leads out of it and of the ikd home: what it names would be written to.

    The folder itself, and those above it, may be links: the person who has the home has made them.

    Raises:
        BadInput: names the link.
    """
    allowed = (Path(os.path.realpath(folder)), Path(os.path.realpath(home)))
    for place, folders, files in os.walk(folder):
        for entry in (Path(place) / name for name in [*folders, *files]):
            if entry.is_symlink() and not any(Path(os.path.realpath(entry)).is_relative_to(one) for one in allowed):
                rule = f"must stay in the folder of the sweep or in {home}, but leads to {os.readlink(entry)!r}"
                raise BadInput(f"{entry}: {rule}; put what it names in its place")


def read_plain(text: str) -> Any:
    """Return the plain values of a YAML text that this program wrote once.

    Raises:
        ValueError: it is none, or would take more memory than any sweep's does.
    """
    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        _count(content, depth=0, left=MOST_VALUES)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError((str(error).splitlines() or ["it nests too deeply"])[0]) from error
    return content


def _count(value: Any, *, depth: int, left: int) -> int:
    """Return how many values may still come.

    Raises:
        ValueError: none.
    """
    if left <= 0 or depth > DEEPEST:
        raise ValueError(f"it holds more than {MOST_VALUES} values, or nests more than {DEEPEST} deep")
    left -= 1
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        left = _count(part, depth=depth + 1, left=left)
    return left
